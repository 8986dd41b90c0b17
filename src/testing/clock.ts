/** A clock that stands still until it is moved. Give its `now` to `createRedis` or the plugin. */
export interface TestClock {
  /** Milliseconds since the epoch. */
  readonly now: () => number
  /** Moves on by this many milliseconds. */
  advance(ms: number): void
}

export function testClock(startAt: number = Date.now()): TestClock {
  let time = startAt
  return {
    now: () => time,
    advance(ms) {
      time += ms
    },
  }
}
