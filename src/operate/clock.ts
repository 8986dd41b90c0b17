/** A point of the logical clock as a time: microseconds that never go back, so at most a little ahead of the real time. */
export function clockTime(at: number): number {
  return Math.floor(at / 1000)
}
