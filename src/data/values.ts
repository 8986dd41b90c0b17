import type { MaybePromise } from '../maybe-promise.js'
import type { EntryRef } from '../cache/entry-ref.js'
import { entryGroups, namespaceGroup } from '../cache/group.js'
import { type Key, keyProblem, valueKeyHead, valueKeyUnder, valuePattern } from '../cache/key.js'
import { ValueError } from '../errors.js'
import { type Entry, usefulUntil } from '../store/entry.js'
import { type Coder, jsonCoder } from './coder.js'
import { type Compressor, type Packed, unpack } from './compression.js'
import type { ResolvedValueOptions } from './options.js'

/** How the values of one namespace are kept. */
export interface ValueFormat {
  /** Empty for the values that are in no namespace. */
  readonly namespace: string
  readonly version?: number | string | undefined
  readonly coder?: Coder | undefined
  readonly schema?: StandardSchema | undefined
  readonly compressor?: Compressor | undefined
  /** Told of each stored value that fails the schema. */
  readonly onInvalid?: ((reason: string) => void) | undefined
}

/** What an entry holds. */
export type Decoded =
  | { readonly state: 'value'; readonly value: unknown }
  /** It is known that there is nothing. */
  | { readonly state: 'negative'; readonly value: undefined }
  /** Of another coder or format, or damaged. */
  | { readonly state: 'undecodable'; readonly value: undefined }
  /** The schema does not accept it (any more). */
  | { readonly state: 'invalid'; readonly value: undefined }

/** A value in the form it is stored in. */
export interface Encoded extends Packed {
  readonly flags: number
}

/*
 * Flags of a value's entry. Bit 0: a negative result, no body. Bit 1: the value is the bytes themselves, whatever the
 * coder. Bits 4 to 7: the codec it is compressed with, 0 for none.
 */
const NEGATIVE_FLAG = 1

const BYTES_FLAG = 2

const CODEC_SHIFT = 4

const NEGATIVE: Decoded = { state: 'negative', value: undefined }

const UNDECODABLE: Decoded = { state: 'undecodable', value: undefined }

const INVALID: Decoded = { state: 'invalid', value: undefined }

export const ENCODED_NEGATIVE: Encoded = { body: Buffer.alloc(0), codec: 0, flags: NEGATIVE_FLAG }

/** Keys whose place is remembered; over that all are forgotten. */
const PLACES_MAX = 2000

/** Longer keys are not remembered: they would be most of the memory. */
const PLACE_LENGTH_MAX = 128

/** What is kept beside an entry that lives in this process: what it was decoded to. */
interface Memo {
  readonly state: 'value'
  readonly value: unknown
  readonly by: Values
  /** Frozen for those who asked for a shared value; others are given one of their own. */
  readonly shared: boolean
}

/** Places and entries of the values of one namespace. */
export class Values {
  readonly namespace: string
  readonly #format: ValueFormat
  readonly #coder: Coder
  readonly #headers: readonly string[]
  readonly #keyHead: string
  /** Encoding a key costs more than all else of a hit from memory. */
  readonly #places = new Map<string, EntryRef>()
  /** What entries without further groups carry. */
  readonly #groups: readonly string[]

  constructor(format: ValueFormat) {
    this.namespace = format.namespace
    this.#format = format
    this.#coder = format.coder ?? jsonCoder
    this.#headers = ['coder', this.#coder.name]
    this.#keyHead = valueKeyHead(format.namespace, format.version)
    this.#groups = format.namespace === '' ? entryGroups([]) : [...entryGroups([]), namespaceGroup(format.namespace)]
  }

  key(key: Key): string {
    if (typeof key === 'string') return (this.#places.get(key) ?? this.#remember(key)).key
    const problem = keyProblem(key)
    if (problem !== undefined) throw new ValueError(`${this.#where(key)}: ${problem}.`)
    return valueKeyUnder(this.#keyHead, key)
  }

  place(key: Key, groups: readonly string[]): EntryRef {
    if (typeof key === 'string' && groups.length === 0) return this.#places.get(key) ?? this.#remember(key)
    return { key: this.key(key), groups: this.#entryGroups(groups) }
  }

  /** A glob pattern of Redis over the keys of the namespace. */
  pattern(pattern: string): string {
    return valuePattern(this.#keyHead, pattern)
  }

  /** How messages name a key. */
  nameOf(key: Key): string {
    return `key ${describeKey(key)} in ${this.namespace === '' ? 'the cache' : `namespace '${this.namespace}'`}`
  }

  #remember(key: string): EntryRef {
    const place: EntryRef = { key: valueKeyUnder(this.#keyHead, key), groups: this.#groups, slot: undefined }
    if (this.#places.size >= PLACES_MAX) this.#places.clear()
    if (key.length <= PLACE_LENGTH_MAX) this.#places.set(key, place)
    return place
  }

  /** What the schema makes of a value that is to be stored. Throws ValueError where it does not accept it. */
  check(key: Key, value: unknown): MaybePromise<unknown> {
    if (this.#format.schema === undefined) return value
    const result = this.#format.schema['~standard'].validate(value)
    return result instanceof Promise ? result.then((end) => this.#accepted(key, end)) : this.#accepted(key, result)
  }

  /** The stored form of a value. Throws ValueError where the coder has none for it. */
  encode(key: Key, value: unknown): MaybePromise<Encoded> {
    if (value === undefined)
      throw new ValueError(
        `${this.#where(key)} is undefined, which stands for "there is none": delete the key, or store null.`,
      )
    const bytes = value instanceof Uint8Array
    const flags = bytes ? BYTES_FLAG : 0
    const packed = (this.#format.compressor ?? PLAIN).pack(bytes ? asBuffer(value) : this.#encode(key, value))
    return packed instanceof Promise ? packed.then((end) => ({ ...end, flags })) : { ...packed, flags }
  }

  /** The entry for a stored form, without its stamp. */
  entry(encoded: Encoded, options: ResolvedValueOptions, now: number): Entry {
    return {
      kind: 'value',
      flags: encoded.flags | (encoded.codec << CODEC_SHIFT),
      status: 0,
      ...instants(options, now),
      stamp: 0,
      initialAgeMs: 0,
      family: '',
      groups: this.#entryGroups(options.groups),
      headers: this.#headers,
      body: encoded.body,
      memo: undefined,
    }
  }

  /** An entry whose value was found unchanged, with a new lifetime. */
  renewed(entry: Entry, options: ResolvedValueOptions, now: number): Entry {
    return { ...entry, ...instants(options, now), groups: this.#entryGroups(options.groups), memo: undefined }
  }

  /** What an entry was decoded to before, where that may be given again. */
  recall(entry: Entry, shared: boolean): Decoded | undefined {
    const memo = entry.memo as Memo | undefined
    return memo !== undefined && memo.by === this && (shared || !memo.shared) ? memo : undefined
  }

  /** What is in an entry. `shared`: frozen, and the same object as long as this process keeps the entry. */
  decode(entry: Entry, shared: boolean): MaybePromise<Decoded> {
    const known = this.recall(entry, shared)
    if (known !== undefined) return known
    if (entry.kind !== 'value' || entry.headers[1] !== this.#coder.name) return UNDECODABLE
    if (entry.flags & NEGATIVE_FLAG) return NEGATIVE
    try {
      const decoded = this.#decode(entry)
      if (decoded instanceof Promise) return decoded.then((end) => this.#keep(entry, end, shared), undecodable)
      return this.#keep(entry, decoded, shared)
    } catch {
      return UNDECODABLE
    }
  }

  #decode(entry: Entry): MaybePromise<Decoded> {
    const codec = entry.flags >> CODEC_SHIFT
    if (codec === 0) return this.#read(entry, entry.body)
    const body = unpack({ body: entry.body, codec })
    return body instanceof Promise ? body.then((bytes) => this.#read(entry, bytes)) : this.#read(entry, body)
  }

  #read(entry: Entry, body: Buffer): MaybePromise<Decoded> {
    // A copy: the entry belongs to everybody, and what is given away may be written to.
    const value = entry.flags & BYTES_FLAG ? Buffer.from(body) : this.#coder.decode(body)
    if (this.#format.schema === undefined) return { state: 'value', value }
    const result = this.#format.schema['~standard'].validate(value)
    return result instanceof Promise ? result.then((end) => this.#believed(end)) : this.#believed(result)
  }

  #believed(result: Validated): Decoded {
    if (result.issues === undefined) return { state: 'value', value: result.value }
    this.#format.onInvalid?.(describePlaces(result.issues))
    return INVALID
  }

  #keep(entry: Entry, decoded: Decoded, shared: boolean): Decoded {
    if (decoded.state !== 'value') return decoded
    const primitive = isPrimitive(decoded.value)
    if (primitive || (shared && deepFreeze(decoded.value)))
      entry.memo = { state: 'value', value: decoded.value, by: this, shared: !primitive } satisfies Memo
    return decoded
  }

  #accepted(key: Key, result: Validated): unknown {
    if (result.issues === undefined) return result.value
    throw new ValueError(
      `${this.#where(key)} fails its schema ${describePlaces(result.issues)}; the issues are the cause.`,
      {
        cause: result.issues,
      },
    )
  }

  #entryGroups(groups: readonly string[]): readonly string[] {
    if (groups.length === 0) return this.#groups
    return this.namespace === '' ? entryGroups(groups) : [...entryGroups(groups), this.#groups[1] as string]
  }

  #encode(key: Key, value: unknown): Buffer {
    try {
      return asBuffer(this.#coder.encode(value))
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      throw new ValueError(`${this.#where(key)} cannot be encoded by the ${this.#coder.name} coder: ${reason}.`, {
        cause: error,
      })
    }
  }

  #where(key: Key): string {
    return `The value of ${this.nameOf(key)}`
  }
}

type Validated = Awaited<ReturnType<StandardSchema['~standard']['validate']>>

const PLAIN: Compressor = { pack: (body) => ({ body, codec: 0 }) }

const undecodable = (): Decoded => UNDECODABLE

function instants(
  { ttlMs, jitter, staleWhileRevalidateMs, staleIfErrorMs }: ResolvedValueOptions,
  now: number,
): Pick<Entry, 'storedAt' | 'freshUntil' | 'staleUntil' | 'errorUntil'> {
  const freshUntil = now + ttlMs * (jitter === 0 ? 1 : 1 - jitter * Math.random())
  return {
    storedAt: now,
    freshUntil,
    staleUntil: freshUntil + staleWhileRevalidateMs,
    errorUntil: freshUntil + staleIfErrorMs,
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

const KEY_SHOWN_MAX = 100

function describeKey(key: unknown): string {
  let text: string | undefined
  try {
    text = JSON.stringify(key, (_, part: unknown) => (typeof part === 'bigint' ? `${part}n` : part))
  } catch {
    // A key that contains itself is one of the wrong ones.
  }
  return (text ?? typeof key).slice(0, KEY_SHOWN_MAX)
}

/** How long the store has to keep an entry. */
export function lifeMs(entry: Entry, now: number): number {
  return usefulUntil(entry) - now
}

/** Read-only all the way down, as a shared value is. */
export type Frozen<T> = T extends readonly unknown[]
  ? { readonly [Index in keyof T]: Frozen<T[Index]> }
  : T extends Date | Uint8Array | ReadonlyMap<unknown, unknown> | ReadonlySet<unknown> | ((...args: never) => unknown)
    ? T
    : T extends object
      ? { readonly [Name in keyof T]: Frozen<T[Name]> }
      : T

/** Nobody can change it: text, number, boolean, null. */
export function isPrimitive(value: unknown): boolean {
  return value === null || typeof value !== 'object'
}

/**
 * Freezes plain objects and lists all the way down. Where there is anything the language cannot freeze (a Date, Map,
 * Set or typed array keeps its setters), nothing is frozen and false is given: such a value is not fit for sharing.
 */
export function deepFreeze(value: unknown): boolean {
  const found = new Set<object>()
  if (!collect(value, found)) return false
  for (const object of found) Object.freeze(object)
  return true
}

function collect(value: unknown, found: Set<object>): boolean {
  if (isPrimitive(value)) return true
  const object = value as object
  if (found.has(object)) return true
  if (Array.isArray(object)) {
    found.add(object)
    return object.every((item) => collect(item, found))
  }
  const prototype: unknown = Object.getPrototypeOf(object)
  if (prototype !== Object.prototype && prototype !== null) return false
  found.add(object)
  for (const name in object) if (!collect((object as Record<string, unknown>)[name], found)) return false
  return true
}

/** What any Standard Schema library (Zod, Valibot, ArkType and others; standardschema.dev) gives its schemas. */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>
    readonly types?: { readonly input: Input; readonly output: Output } | undefined
  }
}

export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] }

export interface SchemaIssue {
  readonly message: string
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
}

/** What may be stored under the schema. */
export type SchemaInput<S extends StandardSchema> = NonNullable<S['~standard']['types']>['input']

/** What is read under the schema. */
export type SchemaOutput<S extends StandardSchema> = NonNullable<S['~standard']['types']>['output']

const PLACES_SHOWN = 3

/** `at name, tags.0`: where the schema was not met. The libraries' messages stay out of it: some quote the value. */
export function describePlaces(issues: readonly SchemaIssue[]): string {
  const places = issues.map(({ path = [] }) => path.map((step) => String(typeof step === 'object' ? step.key : step)))
  const named = [...new Set(places.filter((steps) => steps.length > 0).map((steps) => steps.join('.')))]
  if (named.length === 0) return 'as a whole'
  const more = named.length - PLACES_SHOWN
  return `at ${named.slice(0, PLACES_SHOWN).join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}

/** Why something given as a schema is none, or undefined. */
export function schemaProblem(schema: unknown): string | undefined {
  const kind = typeof schema
  const standard = (kind === 'object' || kind === 'function') && schema !== null && '~standard' in (schema as object)
  return standard ? undefined : 'schema: not a Standard Schema (Zod 3.24+, Valibot 1+, ArkType 2+ and others are)'
}
