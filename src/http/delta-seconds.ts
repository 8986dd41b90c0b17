/** 2^31: what a larger number of seconds means (RFC 9111 section 1.2.2). */
export const MAX_SECONDS = 2 ** 31

const ZERO = 48
const NINE = 57

/** Digits and nothing else, as seconds; undefined where it is anything else. */
export function parseDeltaSeconds(text: string): number | undefined {
  if (text === '') return undefined
  let seconds = 0
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index)
    if (code < ZERO || code > NINE) return undefined
    seconds = Math.min(seconds * 10 + code - ZERO, MAX_SECONDS)
  }
  return seconds
}
