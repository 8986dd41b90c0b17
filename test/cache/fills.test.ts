import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { type Absent, type EntryRef, lookupEntry } from '../../src/cache/lookup.js'
import {
  type Acquired,
  type AcquireOptions,
  FillCoordinator,
  type TakenTurn,
  type TakeTurnOptions,
} from '../../src/cache/fill.js'
import type { FillLease } from '../../src/cache/fill-lease.js'
import type { Turn } from '../../src/cache/turns.js'
import { Memory, MemoryStore } from '../../src/store/memory-store.js'
import { type ControlledStore, controlled, settle, signal } from '../support/controlled-store.js'
import { makeEntry } from '../support/entries.js'

beforeEach(() => {
  vi.useFakeTimers({
    toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'],
  })
})

afterEach(() => {
  vi.useRealTimers()
})

function ref(key = '/a', groups: readonly string[] = ['']): EntryRef {
  return { key, path: key, groups }
}

const ABSENT: Absent = { state: 'absent', seen: undefined, absentGroups: [''] }

/** One process: its own store object and fills, over a memory that it shares with the others. */
class Process {
  readonly store: ControlledStore
  readonly fills: FillCoordinator
  readonly nested: string[] = []

  constructor(
    readonly memory: Memory,
    timing: { leaseMs?: number; waitMs?: number } = {},
  ) {
    this.store = controlled(new MemoryStore(memory, 'test'))
    this.fills = new FillCoordinator(this.store, {
      lookup: (at) => lookupEntry(this.store, at, Date.now()),
      leaseMs: 3000,
      waitMs: 10_000,
      onNested: (key) => this.nested.push(key),
      ...timing,
    })
  }

  acquire(more: Partial<AcquireOptions> = {}, at: EntryRef = ref()): Promise<Acquired> {
    return this.fills.acquire(at, ABSENT, { accept: () => true, groupTtlMs: 60_000, ...more })
  }

  async lead(more: Partial<AcquireOptions> = {}, at: EntryRef = ref()): Promise<FillLease> {
    const acquired = await this.acquire(more, at)
    if (acquired.state !== 'fill') throw new Error(`expected a fill, got ${acquired.state}`)
    return acquired.fill
  }
}

let memory: Memory
let one: Process
let two: Process

beforeEach(() => {
  memory = new Memory()
  one = new Process(memory)
  two = new Process(memory)
})

/** Whatever a test did, no lease and no flight is left of it. */
function expectNothingLeft(): void {
  expect([...memory.leases.values()].filter(({ kind }) => kind === 'fill')).toEqual([])
  expect([one.fills.size, two.fills.size]).toEqual([0, 0])
  expect(memory.waiters.size).toBe(0)
}

function times<T>(count: number, make: () => T): T[] {
  return Array.from({ length: count }, make)
}

/** How many ended in which way. */
async function ends(waiting: readonly Promise<Acquired>[]): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const end of await Promise.all(waiting)) {
    const name = end.state === 'alone' ? end.reason : end.state
    counts[name] = (counts[name] ?? 0) + 1
  }
  return counts
}

describe.each([20, 200])('one run and %i requests that wait for it', (count) => {
  test('in its process and in another: all of them have its entry, and no handler runs again', async () => {
    const fill = await one.lead()
    const waiting = [...times(count, () => one.acquire()), ...times(count, () => two.acquire())]
    await settle()
    expect(await fill.publish(makeEntry({ status: 299 }), 60_000)).toBe('stored')
    expect((await Promise.all(waiting)).every((end) => end.state === 'found' && end.entry.status === 299)).toBe(true)
    // The waiters of the other process share one lookup.
    expect(two.store.calls.read).toBe(1)
    expectNothingLeft()
  })

  test('that fails: all run at once, side by side, and newcomers collapse again', async () => {
    const fill = await one.lead()
    const waiting = [...times(count, () => one.acquire()), ...times(count, () => two.acquire())]
    await settle()
    await fill.release()
    expect(await ends(waiting)).toEqual({ failed: count, unusable: count })
    const next = await one.lead()
    const newcomers = times(count, () => one.acquire())
    await settle()
    await next.publish(makeEntry(), 60_000)
    expect(await ends(newcomers)).toEqual({ found: count })
    expectNothingLeft()
  })

  test('that is fenced while they wait: they began before the invalidation, so its answer is as new as theirs', async () => {
    const fill = await one.lead()
    const waiting = times(count, () => one.acquire())
    await settle()
    await two.store.invalidate([''], 'hard')
    expect(await fill.publish(makeEntry(), 60_000)).toBe('fenced')
    expect(await ends(waiting)).toEqual({ found: count })
    expectNothingLeft()
  })

  test('that is fenced, and they began after the invalidation: none is given the older answer, none waits again', async () => {
    const fill = await one.lead()
    await two.store.invalidate([''], 'hard')
    const waiting = times(count, () => one.acquire())
    await settle()
    expect(await fill.publish(makeEntry(), 60_000)).toBe('fenced')
    expect(await ends(waiting)).toEqual({ fenced: count })
    expectNothingLeft()
  })

  test('whose response may not be stored: all run at once, and so do newcomers of all processes for a while', async () => {
    const fill = await one.lead()
    const waiting = [...times(count, () => one.acquire()), ...times(count, () => two.acquire())]
    await settle()
    await fill.refuse()
    expect(await ends(waiting)).toEqual({ 'hit-for-pass': count, unusable: count })
    expect(await ends([one.acquire(), two.acquire()])).toEqual({ 'hit-for-pass': 2 })
    vi.advanceTimersByTime(5001)
    const next = await two.lead()
    await next.release()
    expectNothingLeft()
  })

  test('that streams to a slow reader: all run at once, and its response is still stored', async () => {
    const fill = await one.lead()
    const waiting = [...times(count, () => one.acquire()), ...times(count, () => two.acquire())]
    await settle()
    fill.releaseWaiters()
    expect(await ends(waiting)).toEqual({ streaming: count, unusable: count })
    expect(await ends([one.acquire(), two.acquire()])).toEqual({ streaming: 1, 'hit-for-pass': 1 })
    expect(await fill.publish(makeEntry(), 60_000)).toBe('stored')
    expectNothingLeft()
  })

  test('that hangs: they wait for the limit and run', async () => {
    const fill = await one.lead()
    const waiting = [...times(count, () => one.acquire()), ...times(count, () => two.acquire())]
    await settle()
    await vi.advanceTimersByTimeAsync(9999)
    expect(one.fills.size).toBe(1)
    await vi.advanceTimersByTimeAsync(1)
    expect(await ends(waiting)).toEqual({ 'wait-limit': 2 * count })
    await fill.release()
    await vi.advanceTimersByTimeAsync(500)
    expectNothingLeft()
  })

  test('whose publication is not answered: those who wait have its entry all the same', async () => {
    const fill = await one.lead()
    const waiting = times(count, () => one.acquire())
    await settle()
    one.store.lose('publish', 'command')
    expect(await fill.publish(makeEntry(), 60_000)).toBe('outage')
    expect(await ends(waiting)).toEqual({ found: count })
    await settle()
    expectNothingLeft()
  })

  test('of another process that dies: they wait for its lease and run', async () => {
    await two.store.acquireLease('/a', {
      token: 'dead',
      leaseMs: 3000,
      seen: undefined,
      absentGroups: [''],
      groupTtlMs: 60_000,
    })
    const waiting = times(count, () => one.acquire())
    await settle()
    await vi.advanceTimersByTimeAsync(2999)
    expect(one.fills.size).toBe(1)
    await vi.advanceTimersByTimeAsync(501)
    expect(await ends(waiting)).toEqual({ unusable: count })
    expectNothingLeft()
  })
})

describe('a newcomer is never given an answer that is older than itself', () => {
  test('F8: the run is stored, then its key is evicted, and its reply is still under way when the newcomer joins', async () => {
    const fill = await one.lead()
    const replying = one.store.hold('publish', 'after')
    const publishing = fill.publish(makeEntry(), 60_000)
    await replying.reached
    await two.store.evict(['/a'], 'hard')
    const late = one.acquire()
    await settle()
    replying.release()
    expect(await publishing).toBe('stored')
    expect(await ends([late])).toEqual({ unusable: 1 })
    expectNothingLeft()
  })

  test('but one that an invalidation of something else came before looks the entry up once more', async () => {
    const fill = await one.lead()
    await two.store.invalidate(['other'], 'hard')
    const late = one.acquire()
    await settle()
    await fill.publish(makeEntry(), 60_000)
    expect(await ends([late])).toEqual({ found: 1 })
    expectNothingLeft()
  })

  test('a softly invalidated run counts as older, too', async () => {
    const fill = await one.lead()
    await two.store.evict(['/a'], 'soft')
    const late = one.acquire({ accept: (_, softened) => !softened })
    await settle()
    await fill.publish(makeEntry(), 60_000)
    expect(await ends([late])).toEqual({ fenced: 1 })
    expectNothingLeft()
  })

  test('whose reading of the clock is lost looks the entry up', async () => {
    const fill = await one.lead()
    one.store.lose('clock', 'reply')
    const late = one.acquire()
    await settle()
    const reads = one.store.calls.read
    await fill.publish(makeEntry(), 60_000)
    expect(await ends([late])).toEqual({ found: 1 })
    expect(one.store.calls.read).toBe(reads + 1)
    expectNothingLeft()
  })

  test('that reads a clock of another incarnation, which says nothing about the run, looks the entry up', async () => {
    const fill = await one.lead()
    const clock = vi.spyOn(one.store, 'clock').mockReturnValue({ incarnation: 99, at: 0 })
    const late = one.acquire()
    await settle()
    clock.mockRestore()
    await two.store.evict(['/a'], 'hard')
    await fill.publish(makeEntry(), 60_000)
    expect(await ends([late])).toEqual({ fenced: 1 })
    expectNothingLeft()
  })

  test('of another process shares only a lookup that began after it came', async () => {
    const fill = await one.lead()
    const early = two.acquire()
    await settle()
    const reading = two.store.hold('read', 'after')
    await fill.publish(makeEntry({ status: 201 }), 60_000)
    await reading.reached
    await one.store.evict(['/a'], 'hard')
    const late = two.acquire()
    await settle()
    reading.release()
    expect(await ends([early])).toEqual({ found: 1 })
    const own = await late
    expect(own.state).toBe('fill')
    if (own.state === 'fill') await own.fill.release()
    expectNothingLeft()
  })
})

describe('every lease is given back', () => {
  test('where the reply to the request for it is lost', async () => {
    one.store.lose('acquireLease', 'reply')
    const waiting = [one.acquire(), one.acquire()]
    expect(await ends(waiting)).toEqual({ outage: 2 })
    await settle()
    expect(one.store.calls.releaseLease).toBe(1)
    expectNothingLeft()
  })

  test('where the client left while it was being granted', async () => {
    const granting = one.store.hold('acquireLease', 'after')
    const client = new AbortController()
    const leaving = one.acquire({ signal: client.signal })
    await granting.reached
    client.abort()
    granting.release()
    expect(await ends([leaving])).toEqual({ aborted: 1 })
    expectNothingLeft()
  })

  test("where the caller's own test of an entry throws", async () => {
    await one.store.set('/a', makeEntry(), 60_000)
    const accept = (): never => {
      throw new TypeError('a mistake')
    }
    const leading = one.acquire({ accept })
    const waiting = one.acquire()
    await expect(leading).rejects.toThrow('a mistake')
    expect(await ends([waiting])).toEqual({ failed: 1 })
    expectNothingLeft()
  })

  test('where the publication gets lost on its way', async () => {
    const fill = await one.lead()
    one.store.lose('publish', 'command')
    expect(await fill.publish(makeEntry(), 60_000)).toBe('outage')
    await settle()
    expectNothingLeft()
  })

  test('once, by the first of its ends', async () => {
    const fill = await one.lead()
    await fill.release()
    const next = await two.lead()
    await Promise.all([fill.release(), fill.refuse()])
    expect(await fill.publish(makeEntry(), 60_000)).toBe('fenced')
    expect(await next.publish(makeEntry({ status: 201 }), 60_000)).toBe('stored')
    expectNothingLeft()
  })
})

describe('a lease', () => {
  test('is renewed while its handler runs', async () => {
    const fill = await one.lead()
    await vi.advanceTimersByTimeAsync(60_000)
    expect(await two.store.isLeased('/a')).toBe(true)
    expect(await fill.publish(makeEntry(), 60_000)).toBe('stored')
    expectNothingLeft()
  })

  test.each([
    ['five minutes', undefined, 300_000],
    ['as long as the caller says', 1500, 1500],
  ])('holds its key for %s and no longer: a handler may hang', async (_, holdMs, limitMs) => {
    const fill = await one.lead({ holdMs })
    await vi.advanceTimersByTimeAsync(limitMs - 1)
    expect(await two.store.isLeased('/a')).toBe(true)
    const waiting = [one.acquire({ waitMs: 600_000 }), two.acquire({ waitMs: 600_000 })]
    await settle()
    await vi.advanceTimersByTimeAsync(1)
    expect(await ends(waiting)).toEqual({ failed: 1, unusable: 1 })
    expectNothingLeft()
    expect(await fill.publish(makeEntry(), 60_000)).toBe('fenced')
  })

  test.each([
    ['for 3 seconds, as if its process had died', undefined, 3000],
    ['no longer than it was to', 1500, 1000],
  ])('whose client has left holds its key %s', async (_, holdMs, limitMs) => {
    const fill = await one.lead({ holdMs })
    await vi.advanceTimersByTimeAsync(500)
    fill.clientLeft()
    await vi.advanceTimersByTimeAsync(limitMs - 1)
    expect(await two.store.isLeased('/a')).toBe(true)
    const waiting = [one.acquire({ waitMs: 600_000 }), two.acquire({ waitMs: 600_000 })]
    await settle()
    await vi.advanceTimersByTimeAsync(1)
    expect(await ends(waiting)).toEqual({ failed: 1, unusable: 1 })
    expectNothingLeft()
    expect(await fill.publish(makeEntry(), 60_000)).toBe('fenced')
  })

  test('whose client has left is stored if its handler answers soon', async () => {
    const fill = await one.lead()
    fill.clientLeft()
    await vi.advanceTimersByTimeAsync(2900)
    expect(await fill.publish(makeEntry(), 60_000)).toBe('stored')
    fill.clientLeft()
    await vi.advanceTimersByTimeAsync(10_000)
    expectNothingLeft()
  })

  test('that was taken away makes no newcomer wait for a run whose result it cannot have', async () => {
    const fill = await one.lead()
    await two.store.evict(['/a'], 'hard')
    await vi.advanceTimersByTimeAsync(1000)
    const next = await one.lead()
    expect(await fill.publish(makeEntry(), 60_000)).toBe('fenced')
    expect(await next.publish(makeEntry(), 60_000)).toBe('stored')
    expectNothingLeft()
  })

  test('that vanishes with its server is noticed within half a second', async () => {
    await one.lead()
    const waiting = two.acquire()
    await settle()
    memory.leases.clear()
    await vi.advanceTimersByTimeAsync(500)
    expect(await ends([waiting])).toEqual({ unusable: 1 })
  })

  test('that ends before its waiter listens is noticed at once', async () => {
    const fill = await one.lead()
    const asking = two.store.hold('acquireLease', 'after')
    const waiting = two.acquire()
    await asking.reached
    await fill.publish(makeEntry(), 60_000)
    asking.release()
    expect(await ends([waiting])).toEqual({ found: 1 })
    expectNothingLeft()
  })

  test('lasts and is waited for as long as the caller says', async () => {
    await one.lead({ leaseMs: 300 })
    expect([...memory.leases.values()].map(({ until }) => until - Date.now())).toEqual([300])
    const waiting = one.acquire({ waitMs: 200 })
    await settle()
    await vi.advanceTimersByTimeAsync(200)
    expect(await ends([waiting])).toEqual({ 'wait-limit': 1 })
  })

  test('of a key that holds something foreign is granted all the same', async () => {
    await one.store.set('/a', makeEntry(), 60_000)
    const fill = await one.lead({ accept: () => false })
    await fill.release()
    expectNothingLeft()
  })

  test('is not taken where a usable entry was stored since the lookup; those who joined find it, too', async () => {
    await one.store.set('/a', makeEntry(), 60_000)
    expect(await ends([one.acquire(), one.acquire()])).toEqual({ found: 2 })
    expectNothingLeft()
  })
})

describe('a waiter', () => {
  test('that goes away ends its own wait and no other', async () => {
    const fill = await one.lead()
    const client = new AbortController()
    const gone = one.acquire({ signal: client.signal })
    const stays = one.acquire()
    await settle()
    client.abort()
    expect(await ends([gone])).toEqual({ aborted: 1 })
    await fill.publish(makeEntry(), 60_000)
    expect(await ends([stays])).toEqual({ found: 1 })
    expectNothingLeft()
  })

  test('that was the first of its process to wait for another one leaves the others waiting', async () => {
    const fill = await one.lead()
    const client = new AbortController()
    const gone = two.acquire({ signal: client.signal })
    const stays = two.acquire()
    await settle()
    client.abort()
    expect(await ends([gone])).toEqual({ aborted: 1 })
    await fill.publish(makeEntry(), 60_000)
    expect(await ends([stays])).toEqual({ found: 1 })
    expectNothingLeft()
  })

  test('that does not want to wait is told so at once', async () => {
    const fill = await one.lead()
    expect(await ends([one.acquire({ waitMs: 0 }), two.acquire({ waitMs: 0 })])).toEqual({ busy: 2 })
    await fill.release()
    expectNothingLeft()
  })

  test('that may not use the entry runs on its own', async () => {
    const fill = await one.lead()
    const picky = one.acquire({ accept: () => false })
    await settle()
    await fill.publish(makeEntry(), 60_000)
    expect(await ends([picky])).toEqual({ unusable: 1 })
    expectNothingLeft()
  })

  test('is released when the store goes away', async () => {
    await one.lead()
    const waiting = two.acquire()
    await settle()
    two.store.lose('isLeased', 'command')
    await vi.advanceTimersByTimeAsync(500)
    expect(await ends([waiting])).toEqual({ outage: 1 })
  })
})

describe('turns of runs beside each other', () => {
  const take = (max: number, more: Partial<TakeTurnOptions> = {}): Promise<TakenTurn> =>
    Promise.resolve(one.fills.takeTurn(ref(), { max, accept: () => true, ...more }))

  async function turnOf(taking: Promise<TakenTurn>): Promise<Turn> {
    const taken = await taking
    if (taken.state !== 'turn') throw new Error('expected a turn')
    return taken.turn
  }

  test('are taken in the order of the requests, and no more than there are', async () => {
    const order: number[] = []
    const taking = times(5, () => take(2))
    taking.forEach((turn, index) => void turn.then(() => order.push(index)))
    await settle()
    expect(order).toEqual([0, 1])
    for (const [index, taken] of taking.entries()) {
      const turn = await turnOf(taken)
      turn.end()
      turn.end()
      await settle()
      expect(order).toEqual([0, 1, 2, 3, 4].slice(0, index + 3))
    }
    expectNothingLeft()
  })

  test('are over the limit for who has waited long enough; what ends then makes room for nobody', async () => {
    const first = await turnOf(take(1))
    const late = take(1, { waitMs: 1000 })
    const last = take(1, { waitMs: 5000 })
    await vi.advanceTimersByTimeAsync(1000)
    const second = await turnOf(late)
    let isLast = false
    void last.then(() => (isLast = true))
    first.end()
    await settle()
    expect(isLast).toBe(false)
    second.end()
    ;(await turnOf(last)).end()
    expectNothingLeft()
  })

  test('of a handler that hangs end by themselves', async () => {
    await turnOf(take(1, { holdMs: 2000 }))
    const next = take(1)
    await vi.advanceTimersByTimeAsync(2000)
    ;(await turnOf(next)).end()
    expectNothingLeft()
  })

  test('of a handler whose client has left end soon, or when they would have', async () => {
    const turn = await turnOf(take(1, { holdMs: 2000 }))
    const next = take(1)
    turn.endWithin(3000)
    await vi.advanceTimersByTimeAsync(1999)
    turn.endWithin(3000)
    await vi.advanceTimersByTimeAsync(1)
    const last = take(1)
    ;(await turnOf(next)).endWithin(100)
    await vi.advanceTimersByTimeAsync(100)
    ;(await turnOf(last)).end()
    expectNothingLeft()
  })

  test('of a caller that goes away are not waited for', async () => {
    const first = await turnOf(take(1))
    const client = new AbortController()
    const gone = take(1, { signal: client.signal })
    client.abort()
    ;(await turnOf(gone)).end()
    first.end()
    expectNothingLeft()
  })

  test('are not needed where an entry was stored meanwhile, unless it is of no use', async () => {
    const first = await turnOf(take(1))
    const [found, choosy] = [take(1), take(1, { accept: () => false })]
    await settle()
    await two.store.set('/a', makeEntry(), 60_000)
    first.end()
    expect((await found).state).toBe('found')
    ;(await turnOf(choosy)).end()
    expectNothingLeft()
  })

  test('go on though the test of an entry throws', async () => {
    const first = await turnOf(take(1))
    const failing = take(1, {
      accept() {
        throw new Error('no')
      },
    })
    await settle()
    await two.store.set('/a', makeEntry(), 60_000)
    first.end()
    await expect(failing).rejects.toThrow('no')
    expectNothingLeft()
  })

  test('of another key are another matter', async () => {
    const first = await turnOf(take(1))
    const other = one.fills.takeFreeTurn('/b', 1)
    expect([one.fills.takeFreeTurn('/a', 1), other === undefined]).toEqual([undefined, false])
    first.end()
    other?.end()
    expectNothingLeft()
  })
})

describe('a loader that asks for what it is loading', () => {
  test('itself runs at once', async () => {
    const fill = await one.lead()
    const inner = await one.fills.runHolding([fill], () => one.acquire())
    expect(inner).toEqual({ state: 'alone', reason: 'nested' })
    expect(one.nested).toEqual(['/a'])
    await fill.release()
    expectNothingLeft()
  })

  test('through another value runs at once: A needs B needs A', async () => {
    const a = await one.lead()
    const end = await one.fills.runHolding([a], async () => {
      const b = await one.lead({}, ref('/b'))
      const inner = await one.fills.runHolding([b], () => one.acquire())
      await b.release()
      return inner
    })
    expect(end).toEqual({ state: 'alone', reason: 'nested' })
    await a.release()
    expectNothingLeft()
  })

  test('through a run of another request runs at once: A waits for B, whose run then needs A', async () => {
    const a = await one.lead()
    const b = await one.lead({}, ref('/b'))
    const waiting = one.fills.runHolding([a], () => one.acquire({}, ref('/b')))
    await settle()
    expect(await one.fills.runHolding([b], () => one.acquire())).toEqual({ state: 'alone', reason: 'nested' })
    await b.publish(makeEntry(), 60_000)
    expect((await waiting)?.state).toBe('found')
    await a.release()
    expectNothingLeft()
  })

  test('does wait for a run that has nothing to do with it', async () => {
    const a = await one.lead()
    const b = await one.lead({}, ref('/b'))
    const waiting = one.fills.runHolding([a], () => one.acquire({}, ref('/b')))
    await settle()
    await b.publish(makeEntry({ status: 202 }), 60_000)
    expect(await waiting).toMatchObject({ state: 'found', entry: { status: 202 } })
    await a.release()
    expectNothingLeft()
  })

  test('passes on what the work returns or throws', async () => {
    const fill = await one.lead()
    const gate = signal()
    expect(one.fills.runHolding([fill], () => 1)).toBe(1)
    expect(() =>
      one.fills.runHolding([fill], () => {
        throw new Error('sync')
      }),
    ).toThrow('sync')
    const rejecting = one.fills.runHolding([fill], async () => {
      await gate.promise
      throw new Error('async')
    })
    gate.resolve()
    await expect(rejecting).rejects.toThrow('async')
    await fill.release()
    expectNothingLeft()
  })
})
