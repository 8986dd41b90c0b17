import type { HeaderList, OutgoingResponse } from '../http/index.js'

/** The header fields of a response that is being written: a `ServerResponse`, or an adapter's equivalent. */
export interface FieldTarget {
  getHeader(name: string): number | string | string[] | undefined
  getHeaderNames(): string[]
  /** Names as they were written; HTTP/2 and some frameworks do not keep them. */
  getRawHeaderNames?(): string[]
  setHeader(name: string, value: string | string[]): unknown
  removeHeader(name: string): unknown
}

/** A field with all its lines. */
export class Field {
  /** Of what is set already the value stays, and this one is added. */
  readonly isShared: boolean

  constructor(
    readonly name: string,
    readonly lowerName: string,
    public value: string | string[],
    /** Where the value of its first line stands in the list. */
    readonly index: number,
  ) {
    this.isShared = SHARED.has(lowerName)
  }
}

/** Fields that describe the body: a 304 has none of them (RFC 9110 section 15.4.5), and they do not apply to another body. */
export const BODY_FIELDS: readonly string[] = [
  'content-encoding',
  'content-language',
  'content-length',
  'content-range',
  'content-type',
  'transfer-encoding',
]

/** List fields that describe the entry; a middleware, the handler and the cache may each add members. */
const OF_ENTRY: ReadonlySet<string> = new Set(['cache-groups', 'vary'])

/** Fields to which the cache adds; existing values are kept. */
const SHARED: ReadonlySet<string> = new Set([...OF_ENTRY, 'cache-status', 'set-cookie'])

/** All fields of a response as a flat list; lines of one name stay apart. */
export function listFields(target: FieldTarget): string[] {
  const list: string[] = []
  for (const name of target.getRawHeaderNames?.() ?? target.getHeaderNames()) {
    const value = target.getHeader(name)
    for (const line of value === undefined ? [] : linesOf(value)) list.push(name, line)
  }
  return list
}

/** The lines of a flat list, those of one name together. */
export function groupFields(headers: HeaderList, from = 0): Field[] {
  const fields = new Map<string, Field>()
  for (let index = from; index < headers.length; index += 2) {
    const [name = '', line = ''] = [headers[index], headers[index + 1]]
    const lowerName = name.toLowerCase()
    const before = fields.get(lowerName)
    if (before === undefined) fields.set(lowerName, new Field(name, lowerName, line, index + 1))
    else before.value = [before.value, line].flat()
  }
  return [...fields.values()]
}

/** The fields of an answer, grouped once, and what an adapter makes of them. */
class Grouped {
  version: number
  fields: Field[]
  /** As an object by name; undefined where one has several lines. */
  byName: Record<string, string> | undefined

  constructor(outgoing: OutgoingResponse) {
    this.version = outgoing.version
    this.fields = groupFields(outgoing.headers)
    const isSimple = this.fields.every(({ value }) => typeof value === 'string')
    this.byName = isSimple ? Object.fromEntries(this.fields.map(({ name, value }) => [name, String(value)])) : undefined
  }

  /** Takes over the values that were changed. */
  update({ headers, version }: OutgoingResponse): void {
    this.version = version
    if (this.byName === undefined) return void (this.fields = groupFields(headers))
    for (const field of this.fields) {
      const value = headers[field.index] ?? ''
      if (field.value === value) continue
      field.value = value
      this.byName[field.name] = value
    }
  }
}

function groupedOf(outgoing: OutgoingResponse): Grouped {
  let grouped = outgoing.memo as Grouped | undefined
  if (grouped === undefined) outgoing.memo = grouped = new Grouped(outgoing)
  else if (grouped.version !== outgoing.version) grouped.update(outgoing)
  return grouped
}

/** The fields of an answer from the cache. Hits of an entry share them. */
export function fieldsOf(outgoing: OutgoingResponse): readonly Field[] {
  return groupedOf(outgoing).fields
}

/** The same as an object by name, not to be changed; undefined where a field has several lines. */
export function fieldsByName(outgoing: OutgoingResponse): Record<string, string> | undefined {
  return groupedOf(outgoing).byName
}

/** Sets fields; adds to those that others write as well. */
export function setFields(target: FieldTarget, fields: readonly Field[]): void {
  for (const field of fields) {
    const before = field.isShared ? target.getHeader(field.name) : undefined
    target.setHeader(field.name, mergedValue(before, field))
  }
}

/** The value of a field that the response already has. */
export function mergedValue(
  before: number | string | string[] | undefined,
  { lowerName, value, isShared }: Field,
): string | string[] {
  if (before !== undefined && isShared) return mergeLists(lowerName, linesOf(before), linesOf(value))
  // A copy, because Node appends to the array that it receives, and this one is shared by all hits.
  return Array.isArray(value) ? [...value] : value
}

/** Changes the fields of a response from one list to another. Most responses gain a few fields and keep the rest. */
export function changeFields(
  target: FieldTarget,
  before: HeaderList,
  after: HeaderList,
  kept: ReadonlySet<string>,
): void {
  if (!before.every((text, index) => text === after[index])) return replaceFields(target, after, kept)
  for (const field of groupFields(after, before.length)) {
    const lines = field.isShared ? undefined : target.getHeader(field.name)
    if (lines === undefined) setFields(target, [field])
    else target.setHeader(field.name, [...linesOf(lines), ...linesOf(field.value)])
  }
}

/** Replaces the fields by those of a list; fields in `kept` (lower case) stay unless the list has them. */
export function replaceFields(target: FieldTarget, headers: HeaderList, kept: ReadonlySet<string>): void {
  for (const name of target.getHeaderNames()) {
    if (kept.has(name)) continue
    // After a Date was removed, Node does not send its own, and over HTTP/2 it keeps the old one.
    if (name === 'date') target.setHeader('Date', new Date().toUTCString())
    else target.removeHeader(name)
  }
  setFields(target, groupFields(headers))
}

/** Values of fields by lower-case name at one moment; without the lists that describe an entry. */
export type FieldSnapshot = ReadonlyMap<string, string>

export const NO_FIELDS: FieldSnapshot = new Map()

export function snapshotFields(fields: Readonly<Record<string, unknown>>, except?: ReadonlySet<string>): FieldSnapshot {
  const values = Object.entries(fields).map(([name, value]) => [name.toLowerCase(), String(value)] as const)
  return new Map(values.filter(([name]) => except?.has(name) !== true && !OF_ENTRY.has(name)))
}

/** Names of the fields that still have the values of the snapshot. */
export function unchangedFields(target: Pick<FieldTarget, 'getHeader'>, before: FieldSnapshot): ReadonlySet<string> {
  const names = new Set<string>()
  for (const [name, value] of before) if (String(target.getHeader(name)) === value) names.add(name)
  return names
}

/** The lines that are set, and the members that they lack. Cookies have no members: their lines are compared. */
function mergeLists(name: string, before: readonly string[], added: readonly string[]): string[] {
  if (name === 'set-cookie') return [...before, ...added.filter((line) => !before.includes(line))]
  const keyOf = (member: string): string => (name === 'vary' ? member.toLowerCase() : member)
  // Caches look for a `*` that stands alone.
  if (name === 'vary' && added.includes('*')) return ['*']
  const present = new Set(before.flatMap(membersOf).map(keyOf))
  const missing = added.flatMap(membersOf).filter((member) => !present.has(keyOf(member)))
  return missing.length === 0 ? [...before] : [...before, missing.join(', ')]
}

function membersOf(line: string): string[] {
  return line.split(',').map((member) => member.trim())
}

function linesOf(value: number | string | string[]): readonly string[] {
  return Array.isArray(value) ? value : [String(value)]
}
