const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']

const IMF_FIXDATE = /^(?:mon|tue|wed|thu|fri|sat|sun), (\d{2}) ([a-z]{3}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) gmt$/

const RFC850 = /^(?:mon|tues|wednes|thurs|fri|satur|sun)day, (\d{2})-([a-z]{3})-(\d{2}) (\d{2}):(\d{2}):(\d{2}) gmt$/

const ASCTIME = /^(?:mon|tue|wed|thu|fri|sat|sun) ([a-z]{3}) ([ \d]\d) (\d{2}):(\d{2}):(\d{2}) (\d{4})$/

/** The longest is an RFC 850 date on a Wednesday; leave room for white space around it. */
const LENGTH_MAX = 64

/**
 * An HTTP-date in any of its three formats (RFC 9110 section 5.6.7), in any case (RFC 9111 section 4.2), GMT only;
 * milliseconds, or undefined. `now` decides the century of two-digit years.
 */
export function parseHttpDate(value: string | undefined, now: number): number | undefined {
  if (value === undefined || value.length > LENGTH_MAX) return undefined
  const text = value.trim().toLowerCase()
  const imf = IMF_FIXDATE.exec(text)
  if (imf !== null) return instant(Number(imf[3]), imf[2], imf[1], imf[4], imf[5], imf[6])
  const rfc850 = RFC850.exec(text)
  if (rfc850 !== null)
    return instant(fullYear(Number(rfc850[3]), now), rfc850[2], rfc850[1], rfc850[4], rfc850[5], rfc850[6])
  const asctime = ASCTIME.exec(text)
  return asctime === null
    ? undefined
    : instant(Number(asctime[6]), asctime[1], asctime[2], asctime[3], asctime[4], asctime[5])
}

/**
 * A two-digit year that seems more than 50 years ahead is the last one in the past with those digits (section 5.6.7).
 */
function fullYear(year: number, now: number): number {
  const thisYear = new Date(now).getUTCFullYear()
  const full = thisYear - (thisYear % 100) + year
  return full > thisYear + 50 ? full - 100 : full
}

type Part = string | undefined

function instant(year: number, month: Part, day: Part, hour: Part, minute: Part, second: Part): number | undefined {
  const index = MONTHS.indexOf(month ?? '')
  if (index === -1 || Number(hour) > 23 || Number(minute) > 59 || Number(second) > 60) return undefined
  const midnight = new Date(0).setUTCFullYear(year, index, Number(day))
  if (new Date(midnight).getUTCDate() !== Number(day)) return undefined
  return midnight + ((Number(hour) * 60 + Number(minute)) * 60 + Number(second)) * 1000
}

let lastSecond = NaN

let lastDate = ''

/** IMF-fixdate. Made once for each second: answers of the same second share it. */
export function formatHttpDate(ms: number): string {
  const second = Math.floor(ms / 1000)
  if (second === lastSecond) return lastDate
  lastDate = new Date(second * 1000).toUTCString()
  lastSecond = second
  return lastDate
}
