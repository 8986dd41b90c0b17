import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Breaker, type BreakerState } from '../../src/redis/node-connection.js'

interface Probe {
  answer(inTime: boolean): Promise<void>
  fail(): Promise<void>
}

/** A breaker whose probes the test answers by hand. */
function setUp() {
  const probes: Probe[] = []
  const states: BreakerState[] = []
  const settled = async (): Promise<void> => void (await vi.advanceTimersByTimeAsync(0))
  const breaker = new Breaker(
    () =>
      new Promise<boolean>((resolve, reject) => {
        probes.push({
          answer: (inTime) => (resolve(inTime), settled()),
          fail: () => (reject(new Error('lost')), settled()),
        })
      }),
    (state) => states.push(state),
  )
  const miss = (times: number): void => {
    for (let i = 0; i < times; i++) breaker.onTimeout()
  }
  const probe = (): Probe => {
    const last = probes.at(-1)
    if (last === undefined) throw new Error('no probe was sent')
    return last
  }
  return { breaker, probes, states, miss, probe }
}

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

test('two misses are chance, the third in a row opens it', () => {
  const { breaker, states, miss } = setUp()
  miss(2)
  expect(breaker.state).toBe('closed')
  miss(1)
  expect(breaker.state).toBe('open')
  expect(states).toEqual(['open'])
})

test('an answer in between starts the count anew', () => {
  const { breaker, miss } = setUp()
  miss(2)
  breaker.onSuccess()
  miss(2)
  expect(breaker.state).toBe('closed')
})

test('open, it has one probe under way however many commands still miss', () => {
  const { probes, states, miss } = setUp()
  miss(50)
  expect(probes).toHaveLength(1)
  expect(states).toEqual(['open'])
})

test('a probe answered in time lets commands try, and the first one answered closes it', async () => {
  const { breaker, states, miss, probe } = setUp()
  miss(3)
  await probe().answer(true)
  expect(breaker.state).toBe('half-open')
  breaker.onSuccess()
  expect(states).toEqual(['open', 'half-open', 'closed'])
})

test('a probe answered late is asked again at once: a slow server is not a healthy one', async () => {
  const { breaker, probes, miss, probe } = setUp()
  miss(3)
  await probe().answer(false)
  expect(breaker.state).toBe('open')
  expect(probes).toHaveLength(2)
  await probe().answer(true)
  expect(breaker.state).toBe('half-open')
})

test('half-open, one miss opens it again, and the next probe waits longer each time', async () => {
  const { breaker, probes, miss, probe } = setUp()
  miss(3)
  for (const [trial, pauseMs] of [100, 200, 400].entries()) {
    await probe().answer(true)
    miss(1)
    expect(breaker.state).toBe('open')
    await vi.advanceTimersByTimeAsync(pauseMs - 1)
    expect(probes).toHaveLength(trial + 1)
    await vi.advanceTimersByTimeAsync(1)
    expect(probes).toHaveLength(trial + 2)
  }
})

test('the pause between probes stays under five seconds', async () => {
  const { probes, miss, probe } = setUp()
  miss(3)
  for (let trial = 0; trial < 12; trial++) {
    await probe().fail()
    await vi.advanceTimersByTimeAsync(5000)
    expect(probes).toHaveLength(trial + 2)
  }
})

test('a probe that is lost does not leave it open for ever', async () => {
  const { breaker, probes, miss, probe } = setUp()
  miss(3)
  await probe().fail()
  expect(breaker.state).toBe('open')
  await vi.advanceTimersByTimeAsync(100)
  expect(probes).toHaveLength(2)
  await probe().answer(true)
  expect(breaker.state).toBe('half-open')
})

test('closing forgets the failed trials', async () => {
  const { breaker, probes, miss, probe } = setUp()
  miss(3)
  await probe().answer(true)
  miss(1)
  await vi.advanceTimersByTimeAsync(100)
  await probe().answer(true)
  breaker.onSuccess()
  miss(3)
  expect(probes).toHaveLength(3)
})

test('a new connection lets commands try without waiting for the old probe', async () => {
  const { breaker, states, miss, probe } = setUp()
  miss(3)
  breaker.onConnected()
  expect(breaker.state).toBe('half-open')
  await probe().answer(false)
  expect(states).toEqual(['open', 'half-open'])
})

test('a new connection changes nothing while it is closed', () => {
  const { breaker, states } = setUp()
  breaker.onConnected()
  expect(states).toEqual([])
})

test('stopped, it asks nothing more and leaves no timer', async () => {
  const { breaker, probes, miss, probe } = setUp()
  miss(3)
  await probe().fail()
  expect(vi.getTimerCount()).toBe(1)
  breaker.stop()
  expect(vi.getTimerCount()).toBe(0)
  await vi.advanceTimersByTimeAsync(10_000)
  expect(probes).toHaveLength(1)
})
