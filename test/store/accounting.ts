// A process of its own, started with --expose-gc. Prints what a full store counts, and what it takes.
// Arguments: memory or near; cold (nothing was asked for) or hot (each entry has been answered with), or scan: ten million
// keys, each asked for once.
import { fieldsByName } from '../../src/adapters/fields.js'
import { buildStoredResponse, planRequest, resolveHttpPolicy } from '../../src/http/index.js'
import { decodeEntry, encodeEntry, type Entry } from '../../src/store/entry.js'
import { Memory, MemoryStore } from '../../src/store/memory-store.js'
import { NearCache } from '../../src/store/near-cache.js'
import type { LocalReader } from '../../src/store/store.js'

const [, , where, state] = process.argv

const MAX_BYTES = 64 * 1024 * 1024

/** More than there is room for. */
const COUNT = 30_000

const SCANNED = 10_000_000

const ROUNDS = 3

function entryOf(n: number): Entry {
  const now = Date.now()
  const until = now + 3_600_000
  const made: Entry = {
    ...{
      kind: 'response',
      flags: 0,
      status: 200,
      storedAt: now,
      incarnation: 1,
      stamp: 1,
      writeStamp: 1,
      ownGroups: [],
    },
    ...{ freshUntil: until, staleUntil: until, errorUntil: until, initialAgeMs: 0, groups: ['', `item-${n}`] },
    headers: [
      ...['Content-Type', 'application/json; charset=utf-8', 'ETag', `"${n.toString(16).padStart(27, '0')}"`],
      ...['Date', new Date(now).toUTCString(), 'X-Request-Id', `request-${n}`],
    ],
    body: Buffer.alloc(2048, String(n)),
  }
  // As it comes from Redis: with texts of its own.
  return decodeEntry(encodeEntry(made) ?? Buffer.alloc(0)) as Entry
}

interface Filled {
  readonly local: LocalReader
  keep(key: string, entry: Entry): void
  bytes(): number
}

function memoryStore(): Filled {
  const memory = new Memory({ maxBytes: MAX_BYTES })
  const store = new MemoryStore(memory, 'test')
  return {
    local: store.local,
    keep: (key, entry) => void store.put(key, entry, 3_600_000),
    bytes: () => memory.bytes,
  }
}

function nearCache(): Filled {
  const near = new NearCache(MAX_BYTES, Date.now)
  near.trust(true)
  const keep = (key: string, entry: Entry): void => {
    const stamps = entry.groups.map(() => ({ incarnation: 1, hard: 0, soft: 0 }))
    near.keep(near.begin(), [key], entry.groups, { entries: [entry], stamps })
  }
  return { local: near, keep, bytes: () => near.bytes }
}

function used(): number {
  for (let round = 0; round < ROUNDS; round++) global.gc?.()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

const policy = resolveHttpPolicy({ ttl: '1h' }, [])
const plan = planRequest({ method: 'GET', header: () => undefined }, policy)

function answer(local: LocalReader, key: string): void {
  const entry = local.entry({ key })
  if (entry !== undefined) fieldsByName(buildStoredResponse(entry, plan, policy, Date.now()))
}

/** Everything once, with little room: what modules and code take is not what a store takes. */
function warmUp(): void {
  const { local, keep } = where === 'memory' ? memoryStore() : nearCache()
  for (let n = 0; n < 200; n++) keep(`/items/${n}`, entryOf(n))
  for (let n = 0; n < 200; n++) answer(local, `/items/${n}`)
}

warmUp()
const before = used()
const filled = where === 'memory' ? memoryStore() : nearCache()
for (let n = 0; n < COUNT; n++) {
  filled.keep(`/items/${n}`, entryOf(n))
  // Each twice: the second lookup finds what the first has prepared.
  if (state === 'hot') for (let time = 0; time < 2; time++) answer(filled.local, `/items/${n}`)
}
const took = used() - before

/** Bytes that are taken after each of ten parts of a scan. */
function scan(): number[] {
  const cold = entryOf(0)
  return Array.from({ length: 10 }, (_, part) => {
    for (let n = 0; n < SCANNED / 10; n++) filled.keep(`/scanned/${part}/${n}`, cold)
    return used() - before
  })
}

const scanned = state === 'scan' ? scan() : []
console.log(JSON.stringify({ counted: filled.bytes(), took, scanned, maxBytes: MAX_BYTES }))
