import type { Running } from './row.js'

/** Operations under way at once. */
const AT_ONCE = 32
/** The clock is read once in so many operations: reading it costs as much as the fastest of them. */
const PER_LOOK = 16

/** Runs an operation for a while, several at once. */
export function loop(operation: (n: number) => Promise<unknown>): Running {
  let count = 0
  return {
    async run(ms) {
      const [startedAt, before] = [performance.now(), count]
      const drive = async (): Promise<void> => {
        while (performance.now() - startedAt < ms) {
          for (let n = 0; n < PER_LOOK; n++) await operation(count++)
        }
      }
      await Promise.all(Array.from({ length: AT_ONCE }, drive))
      return { operations: count - before, ms: performance.now() - startedAt }
    },
  }
}
