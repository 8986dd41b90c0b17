import type { Entry } from '../../src/store/entry.js'

export function makeEntry(more: Partial<Entry> = {}): Entry {
  const now = Date.now()
  return {
    kind: 'response',
    flags: 0,
    status: 200,
    storedAt: now,
    stamp: 0,
    freshUntil: now + 60_000,
    staleUntil: now + 60_000,
    errorUntil: now + 60_000,
    initialAgeMs: 0,
    family: '',
    groups: [''],
    headers: ['content-type', 'text/plain'],
    body: Buffer.from('hello'),
    memo: undefined,
    ...more,
  }
}
