import type { Entry } from '../../src/store/entry.js'

export function makeEntry(more: Partial<Entry> = {}): Entry {
  const now = Date.now()
  return {
    kind: 'response',
    flags: 0,
    status: 200,
    storedAt: now,
    incarnation: 1,
    stamp: 0,
    writeStamp: 0,
    ownGroups: [],
    freshUntil: now + 60_000,
    staleUntil: now + 60_000,
    errorUntil: now + 60_000,
    initialAgeMs: 0,
    softened: false,
    groups: [''],
    headers: ['content-type', 'text/plain'],
    body: Buffer.from('hello'),
    memo: undefined,
    ...more,
  }
}
