const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
]

/** `3m 20s`, the two largest units; `no end` for none. */
export function duration(ms) {
  if (ms === null || ms === undefined) return 'no end'
  const sign = ms < 0 ? '-' : ''
  let rest = Math.abs(ms)
  if (rest < 1000) return `${sign}${Math.round(rest)} ms`
  const parts = []
  for (const [unit, size] of UNITS) {
    const whole = Math.floor(rest / size)
    rest -= whole * size
    if (whole > 0) parts.push(`${whole}${unit}`)
  }
  return sign + parts.slice(0, 2).join(' ')
}

/** Characters that move or turn what is written after them: controls, and marks of direction. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu

/** Text of others with such characters written out, so that it cannot pretend to be other text. */
export function visible(text) {
  return String(text).replace(UNSEEN, (one) => `\\u{${one.codePointAt(0).toString(16)}}`)
}

/** Characters of a name in a list or a question, and how many of them are its end. */
const SHORT = 240
const SHORT_END = 40

/** A name of others where many stand: visible, and with its middle left out where it is long. */
export function short(text) {
  const shown = visible(text)
  return shown.length <= SHORT ? shown : `${shown.slice(0, SHORT - SHORT_END)} … ${shown.slice(-SHORT_END)}`
}

export function bytes(size) {
  if (size < 1024) return `${size} B`
  return size < 1024 * 1024 ? `${(size / 1024).toFixed(1)} KiB` : `${(size / 1024 / 1024).toFixed(1)} MiB`
}

export function percent(share) {
  return share === null || share === undefined ? '-' : `${(100 * share).toFixed(1)} %`
}

export function millis(ms) {
  return ms === null || ms === undefined ? '-' : `${ms < 10 ? ms.toFixed(2) : Math.round(ms)} ms`
}

export function count(number) {
  return number.toLocaleString('en')
}

export function time(at) {
  return at === null || at === undefined ? '-' : new Date(at).toLocaleString()
}

export function clock(at) {
  return new Date(at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
}

export function sumOf(counts) {
  return Object.values(counts).reduce((sum, one) => sum + one, 0)
}
