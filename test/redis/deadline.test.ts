import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { CommandBudget, Deadlines, Pending } from '../../src/redis/deadline.js'

const LIMIT_MS = 40
const TICK_MS = 10

class Command extends Pending {
  constructor(override readonly miss: () => void) {
    super()
  }
}

function setUp(limitMs = LIMIT_MS) {
  const deadlines = new Deadlines(limitMs, () => performance.now() + stalledMs)
  const missed: string[] = []
  return {
    deadlines,
    missed,
    add: (name: string, budget?: CommandBudget) => {
      const pending = new Command(() => missed.push(name))
      if (!deadlines.begin(pending, budget)) throw new Error('The budget is spent.')
      return pending
    },
  }
}

/** A tick of the clock, and the turn of the event loop that it grants to replies. */
async function pass(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms)
  await vi.advanceTimersByTimeAsync(0)
}

let stalledMs = 0

beforeEach(() => {
  stalledMs = 0
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

test('a command that is not answered misses its deadline once, at most a tick late', async () => {
  const { missed, add } = setUp()
  add('a')
  await pass(LIMIT_MS - 1)
  expect(missed).toEqual([])
  await pass(TICK_MS + 1)
  expect(missed).toEqual(['a'])
  await pass(10 * LIMIT_MS)
  expect(missed).toEqual(['a'])
})

test('a command that is answered in time misses nothing, and only the first end counts', async () => {
  const { missed, add } = setUp()
  const pending = add('a')
  expect(pending.settle()).toBe(true)
  expect(pending.settle()).toBe(false)
  await pass(2 * LIMIT_MS)
  expect(missed).toEqual([])
})

test('a command that has ended keeps none of the others alive', () => {
  const deadlines = new Deadlines(LIMIT_MS)
  const commands = Array.from({ length: 3 }, () => new Command(() => {}))
  for (const command of commands) deadlines.begin(command)
  for (const command of commands) command.settle()
  for (const command of commands) expect([command.next, command.previous]).toEqual([command, command])
})

test('an answer after the deadline does not count', async () => {
  const { add } = setUp()
  const pending = add('a')
  await pass(2 * LIMIT_MS)
  expect(pending.settle()).toBe(false)
})

test('those that came later miss later', async () => {
  const { missed, add } = setUp()
  add('a')
  await pass(25)
  add('b')
  add('c').settle()
  await pass(20 + TICK_MS)
  expect(missed).toEqual(['a'])
  await pass(20 + TICK_MS)
  expect(missed).toEqual(['a', 'b'])
})

test('a thousand commands share one timer, and there is none while nothing is under way', async () => {
  const { missed, add } = setUp()
  expect(vi.getTimerCount()).toBe(0)
  const all = Array.from({ length: 1000 }, (_, i) => add(String(i)))
  expect(vi.getTimerCount()).toBe(1)
  for (const pending of all) pending.settle()
  await pass(TICK_MS)
  expect(vi.getTimerCount()).toBe(0)
  expect(missed).toEqual([])
  add('again')
  await pass(2 * LIMIT_MS)
  expect(missed).toEqual(['again'])
  expect(vi.getTimerCount()).toBe(0)
})

test('many thousands in a row keep their order and all end', async () => {
  const { missed, add } = setUp()
  for (let round = 0; round < 20; round++) {
    for (let i = 0; i < 500; i++) {
      const pending = add(`${round}:${i}`)
      if (i > 0) pending.settle()
    }
    await pass(TICK_MS)
  }
  await pass(2 * LIMIT_MS)
  expect(missed).toEqual(Array.from({ length: 20 }, (_, round) => `${round}:0`))
})

test('idle resolves at once when all is answered, and otherwise when the last one ends', async () => {
  const { deadlines, missed, add } = setUp()
  await deadlines.idle()
  add('a').settle()
  await deadlines.idle()
  expect(vi.getTimerCount()).toBe(0)
  add('b')
  const idle = deadlines.idle().then(() => missed.push('idle'))
  await pass(2 * LIMIT_MS)
  await idle
  expect(missed).toEqual(['b', 'idle'])
})

test('a long limit does not keep the timer of a short command', async () => {
  const { add } = setUp(60_000)
  add('a').settle()
  await pass(100)
  expect(vi.getTimerCount()).toBe(0)
})

/** The event loop stands still: time passes, and no timer is served until the end of it. */
async function standStill(ms: number): Promise<void> {
  stalledMs += ms
  await pass(TICK_MS)
}

test('time in which the event loop stood still is not counted: a command has four turns of it', async () => {
  const { missed, add } = setUp()
  add('a')
  await standStill(100 * LIMIT_MS)
  expect(missed).toEqual([])
  await pass(3 * TICK_MS)
  expect(missed).toEqual([])
  await pass(2 * TICK_MS)
  expect(missed).toEqual(['a'])
})

test('a loop that is late all the time is no reason to wait for ever: sixteen late turns are enough', async () => {
  const { missed, add } = setUp()
  add('a')
  for (let turn = 1; turn <= 15; turn += 1) await standStill(10 * LIMIT_MS)
  expect(missed).toEqual([])
  for (let turn = 16; turn <= 20; turn += 1) await standStill(10 * LIMIT_MS)
  expect(missed).toEqual(['a'])
})

test('what is asked just after the event loop stood still has its whole limit', async () => {
  const { missed, add } = setUp()
  add('before')
  await standStill(100 * LIMIT_MS)
  add('after')
  await pass(4 * TICK_MS)
  expect(missed).not.toContain('after')
  await pass(2 * TICK_MS)
  expect(missed).toEqual(['before', 'after'])
})

describe('a budget', () => {
  test('is shared by commands that follow each other: the last one has what the others left', async () => {
    const { missed, add } = setUp()
    const budget = new CommandBudget(LIMIT_MS)
    const first = add('first', budget)
    await pass(30)
    first.settle()
    expect(budget.remainingMs).toBe(10)
    add('second', budget)
    await pass(TICK_MS)
    await pass(TICK_MS)
    expect(missed).toEqual(['second'])
    expect(budget.remainingMs).toBe(0)
  })

  test('is spent once by commands side by side', async () => {
    const { missed, add } = setUp()
    const budget = new CommandBudget(LIMIT_MS)
    const pending = Array.from({ length: 5 }, (_, i) => add(String(i), budget))
    await pass(20)
    for (const one of pending) one.settle()
    expect(budget.remainingMs).toBe(20)
    expect(missed).toEqual([])
  })

  test('does not count the time between its commands', async () => {
    const { missed, add } = setUp()
    const budget = new CommandBudget(LIMIT_MS)
    add('read', budget).settle()
    await pass(100 * LIMIT_MS)
    add('store', budget)
    await pass(LIMIT_MS - TICK_MS)
    expect(missed).toEqual([])
  })

  test('does not count the time in which the event loop stood still', async () => {
    const { missed, add } = setUp()
    const budget = new CommandBudget(LIMIT_MS)
    const pending = add('a', budget)
    await standStill(100 * LIMIT_MS)
    pending.settle()
    expect(budget.remainingMs).toBe(LIMIT_MS - TICK_MS / 4)
    expect(missed).toEqual([])
  })

  test('that is spent sends nothing more', async () => {
    const { deadlines, add } = setUp()
    const budget = new CommandBudget(LIMIT_MS)
    add('a', budget)
    await pass(2 * LIMIT_MS)
    expect(deadlines.begin(new Command(() => {}), budget)).toBe(false)
    expect(deadlines.busy).toBe(false)
  })

  test('that is longer than others outlives them, and a shorter one does not wait for them', async () => {
    const { missed, add } = setUp()
    add('long', new CommandBudget(10 * LIMIT_MS))
    add('ordinary')
    add('short', new CommandBudget(LIMIT_MS / 2))
    await pass(20 + TICK_MS)
    expect(missed).toEqual(['short'])
    await pass(20)
    expect(missed).toEqual(['short', 'ordinary'])
    await pass(9 * LIMIT_MS)
    expect(missed).toEqual(['short', 'ordinary', 'long'])
  })
})
