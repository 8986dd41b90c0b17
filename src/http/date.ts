const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']

const IMF = /^(?:mon|tue|wed|thu|fri|sat|sun), (\d{2}) ([a-z]{3}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) gmt$/
const RFC850 = /^(?:monday|tuesday|wednesday|thursday|friday|saturday|sunday), (\d{2})-([a-z]{3})-(\d{2}) (\d{2}):(\d{2}):(\d{2}) gmt$/
const ASCTIME = /^(?:mon|tue|wed|thu|fri|sat|sun) ([a-z]{3}) ([ \d]\d) (\d{2}):(\d{2}):(\d{2}) (\d{4})$/

/** An HTTP-date in any of its three formats (RFC 9110 section 5.6.7), in any case, GMT only; milliseconds, or undefined. */
export function parseHttpDate(value: string | undefined, now: number): number | undefined {
  if (value === undefined || value.length > 40) return undefined
  const text = value.trim().toLowerCase()
  const imf = IMF.exec(text)
  if (imf !== null) return toMs(imf[3], imf[2], imf[1], imf[4], imf[5], imf[6])
  const rfc850 = RFC850.exec(text)
  if (rfc850 !== null) return toMs(fullYear(Number(rfc850[3]), now), rfc850[2], rfc850[1], rfc850[4], rfc850[5], rfc850[6])
  const asctime = ASCTIME.exec(text)
  return asctime === null ? undefined : toMs(asctime[6], asctime[1], asctime[2], asctime[3], asctime[4], asctime[5])
}

/** A two-digit year more than 50 years ahead is of the last century (RFC 9110 section 5.6.7). */
function fullYear(year: number, now: number): string {
  const thisYear = new Date(now).getUTCFullYear()
  const full = thisYear - (thisYear % 100) + year
  return String(full > thisYear + 50 ? full - 100 : full)
}

type Part = string | undefined

function toMs(year: Part, month: Part, day: Part, hour: Part, minute: Part, second: Part): number | undefined {
  const index = MONTHS.indexOf(month ?? '')
  const ms = Date.UTC(Number(year), index, Number(day), Number(hour), Number(minute), Number(second))
  const date = new Date(ms)
  const real = index >= 0 && date.getUTCDate() === Number(day) && Number(hour) < 24 && Number(minute) < 60 && Number(second) <= 60
  return real ? ms : undefined
}

let lastSecond = -1
let lastDate = ''

/** IMF-fixdate. Made once a second: every answer of that second has the same. */
export function httpDate(now: number): string {
  const second = Math.floor(now / 1000)
  if (second !== lastSecond) {
    lastSecond = second
    lastDate = new Date(second * 1000).toUTCString()
  }
  return lastDate
}
