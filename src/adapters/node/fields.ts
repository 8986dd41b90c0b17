import type { ServerResponse } from 'node:http'
import type { HeaderList, OutgoingResponse } from '../../http/index.js'

/** Fields of a response as they are set at once: lines of one name together. */
type FieldEntries = readonly (readonly [name: string, value: string | string[], lowerCase: string])[]

/** Every outgoing message has it; the types of Node 20 say so of requests alone. */
interface RawNames extends ServerResponse {
  getRawHeaderNames(): string[]
}

/** Fields that describe a body; a 304 has none (RFC 9110 section 15.4.5), and another body has others. */
const OF_THE_BODY = [
  'content-encoding',
  'content-language',
  'content-length',
  'content-range',
  'content-type',
  'transfer-encoding',
]

/** The fields that are set on a response as a flat list, repeated lines apart. */
export function readFields(res: ServerResponse): string[] {
  const list: string[] = []
  for (const name of (res as RawNames).getRawHeaderNames()) {
    const value = res.getHeader(name)
    if (Array.isArray(value)) for (const line of value) list.push(name, line)
    else if (value !== undefined) list.push(name, String(value))
  }
  return list
}

/** Sends an answer that is complete, beside the fields that are set already. */
export function sendAnswer(res: ServerResponse, outgoing: OutgoingResponse): void {
  if (outgoing.status === 304) removeFields(res, OF_THE_BODY)
  res.statusCode = outgoing.status
  setFields(res, fieldsOf(outgoing))
  // Node would add it, but only where nobody who logs it can read it.
  if (outgoing.body !== null) res.setHeader('Content-Length', outgoing.body.length)
  res.end(outgoing.body ?? undefined)
}

/** Hits of the same second give the same object, so what Node needs of it is made once. */
export function fieldsOf(outgoing: OutgoingResponse): FieldEntries {
  outgoing.memo ??= entriesOf(outgoing.headers, 0)
  return outgoing.memo as FieldEntries
}

/** An entry has no Content-Length of its own, so a hit sends it last; for a miss to be the same it does so, too. */
export function putLengthLast(res: ServerResponse): void {
  const length = res.getHeader('content-length')
  if (length === undefined) return
  res.removeHeader('content-length')
  res.setHeader('Content-Length', length)
}

/** Adds the end of a list to the fields that are set; a name that is there already gets a further line. */
export function addFields(res: ServerResponse, headers: HeaderList, from: number): void {
  for (const [name, value] of entriesOf(headers, from)) {
    if (res.hasHeader(name)) res.appendHeader(name, value)
    else res.setHeader(name, value)
  }
}

/** Makes the fields those of a list, beside those in `kept` (lower case) that it does not name. */
export function replaceFields(res: ServerResponse, headers: HeaderList, kept: ReadonlySet<string>): void {
  removeFields(
    res,
    res.getHeaderNames().filter((name) => !kept.has(name)),
  )
  setFields(res, entriesOf(headers, 0))
}

/** Takes away what describes a body that is not sent. */
export function removeBodyFields(res: ServerResponse): void {
  removeFields(res, OF_THE_BODY)
}

function setFields(res: ServerResponse, entries: FieldEntries): void {
  for (const [name, value] of entries) res.setHeader(name, value)
}

export function removeFields(res: ServerResponse, names: readonly string[]): void {
  for (const name of names) res.removeHeader(name)
}

function entriesOf(headers: HeaderList, from: number): FieldEntries {
  const entries = new Map<string, [string, string | string[], string]>()
  for (let index = from; index < headers.length; index += 2) {
    const name = headers[index] as string
    const value = headers[index + 1] as string
    const lower = name.toLowerCase()
    const before = entries.get(lower)
    if (before === undefined) entries.set(lower, [name, value, lower])
    else before[1] = [before[1], value].flat()
  }
  return [...entries.values()]
}
