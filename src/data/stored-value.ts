import { EntryRef } from '../cache/lookup.js'
import {
  entryGroups,
  namespaceGroup,
  type Key,
  keyProblem,
  valueKeyHead,
  valueKeyUnder,
  valuePattern,
} from '../cache/key.js'
import { messageOf, ValueError } from '../errors.js'
import type { Logger } from '../logger.js'
import { chain, isPromise, type MaybePromise } from '../maybe-promise.js'
import type { EntryDraft } from '../cache/write.js'
import type { Entry } from '../store/entry.js'
import { type Coder, jsonCoder } from './coder.js'
import { type Compressor, type Packed, unpack } from './compression.js'
import type { ResolvedValueOptions } from './options.js'
import type { StandardSchema } from './types.js'
import { describeIssues, type SchemaIssue } from '../schema-issues.js'

/** Keys whose reference is remembered; above it all are forgotten. */
const REFS_MAX = 2000

/** Longer keys are not remembered: they would take most of the memory. */
const REMEMBERED_LENGTH_MAX = 128

const KEY_SHOWN_MAX = 100

/** Where the values of one namespace are stored, and how messages name them. */
export class ValueRefs {
  readonly #head: string
  /** Groups of values that name none. */
  readonly #groups: readonly string[]
  /** Encoding a key costs more than the rest of a hit from memory. */
  readonly #refs = new Map<string, EntryRef>()

  /** `namespace` is empty for the values of the cache itself. */
  constructor(
    readonly namespace: string,
    version?: number | string,
  ) {
    this.#head = valueKeyHead(namespace, version)
    this.#groups = namespace === '' ? entryGroups([]) : [...entryGroups([]), namespaceGroup(namespace)]
  }

  ref(key: Key, groups: readonly string[]): EntryRef {
    if (typeof key === 'string' && groups.length === 0) return this.#refs.get(key) ?? this.#remember(key)
    const encoded = this.key(key)
    return new EntryRef(encoded, encoded, this.groups(groups))
  }

  key(key: Key): string {
    if (typeof key === 'string') return (this.#refs.get(key) ?? this.#remember(key)).key
    const problem = keyProblem(key)
    if (problem !== undefined) throw new ValueError(`The value of ${this.describe(key)}: ${problem}.`)
    return valueKeyUnder(this.#head, key)
  }

  /** What an entry in these groups carries, encoded. */
  groups(names: readonly string[]): readonly string[] {
    if (names.length === 0) return this.#groups
    return [...entryGroups(names), ...this.#groups.slice(1)]
  }

  /** A glob pattern of Redis over the keys of the namespace. */
  pattern(pattern: string): string {
    return valuePattern(this.#head, pattern)
  }

  /** The name of a key in messages. */
  describe(key: unknown): string {
    return `key ${keyText(key)} in ${this.namespace === '' ? 'the cache' : `namespace '${this.namespace}'`}`
  }

  #remember(key: string): EntryRef {
    const encoded = valueKeyUnder(this.#head, key)
    const ref = new EntryRef(encoded, encoded, this.#groups)
    if (this.#refs.size >= REFS_MAX) this.#refs.clear()
    if (key.length <= REMEMBERED_LENGTH_MAX) this.#refs.set(key, ref)
    return ref
  }
}

function keyText(key: unknown): string {
  let text: string | undefined
  try {
    text = JSON.stringify(key, (_, part: unknown) => (typeof part === 'bigint' ? `${part}n` : part))
  } catch {
    // A key that contains itself is an invalid one.
  }
  return (text ?? typeof key).slice(0, KEY_SHOWN_MAX)
}

/** The form in which a namespace stores its values. */
interface ValueFormat {
  readonly coder: Coder | undefined
  readonly schema: StandardSchema | undefined
  readonly compressor: Compressor
  readonly logger: Logger
}

/** What an entry says of its key. */
type Known =
  | { readonly state: 'value'; readonly value: unknown }
  /** Known not to exist. */
  | { readonly state: 'negative'; readonly value: undefined }

/** The content of an entry. A `ValueMissReason` where it is of no use. */
export type Decoded = Known | { readonly state: 'undecodable' | 'invalid'; readonly value: undefined }

/** The part of an entry that holds a value. */
export type EncodedValue = Pick<Entry, 'flags' | 'headers' | 'body'>

/*
 * Flags of a value's entry. Bit 0: a negative result, no body. Bit 1: the value is the bytes themselves, whatever the
 * coder. Bits 4 to 7: the compression codec, 0 for none.
 */
const NEGATIVE_FLAG = 1

const BYTES_FLAG = 2

const CODEC_SHIFT = 4

const NO_BYTES = Buffer.alloc(0)

const NEGATIVE: Decoded = { state: 'negative', value: undefined }

const UNDECODABLE: Decoded = { state: 'undecodable', value: undefined }

const undecodable = (): Decoded => UNDECODABLE

/** The decoded value, kept with an entry that lives in this process's memory. */
class DecodedMemo {
  readonly state = 'value'
  constructor(
    readonly value: unknown,
    readonly codec: ValueCodec,
    /** Frozen, so only for callers that asked for a shared value. */
    readonly frozen: boolean,
  ) {}
}

/** Converts values to entries and back: schema, coder, compression. */
export class ValueCodec {
  readonly #format: ValueFormat
  readonly #refs: ValueRefs
  readonly #coder: Coder
  readonly #headers: readonly string[]
  #warned = false

  constructor(format: ValueFormat, refs: ValueRefs) {
    this.#format = format
    this.#refs = refs
    this.#coder = format.coder ?? jsonCoder
    this.#headers = ['coder', this.#coder.name]
  }

  /** The schema's output for a value that is to be stored. Throws ValueError if the schema rejects it. */
  check(key: unknown, value: unknown): MaybePromise<unknown> {
    const { schema } = this.#format
    if (schema === undefined) return value
    return chain(schema['~standard'].validate(value), (result) => {
      if (result.issues === undefined) return result.value
      const what = `The value of ${this.#refs.describe(key)} fails its schema ${describeIssues(result.issues)}`
      throw new ValueError(`${what}; see \`cause\` for the issues.`, { cause: result.issues })
    })
  }

  /** Throws ValueError if the coder cannot encode the value. */
  encode(key: unknown, value: unknown): MaybePromise<EncodedValue> {
    const what = (): string => `The value of ${this.#refs.describe(key)}`
    if (value === undefined)
      throw new ValueError(`${what()} is undefined, which means that there is none: delete the key, or store null.`)
    const isBytes = value instanceof Uint8Array
    let bytes: Buffer
    try {
      bytes = asBuffer(isBytes ? value : this.#coder.encode(value))
    } catch (error) {
      const reason = messageOf(error)
      throw new ValueError(`${what()} cannot be encoded by the ${this.#coder.name} coder: ${reason}.`, { cause: error })
    }
    return chain(this.#format.compressor.pack(bytes), ({ body, codec }: Packed) => ({
      flags: (isBytes ? BYTES_FLAG : 0) | (codec << CODEC_SHIFT),
      headers: this.#headers,
      body,
    }))
  }

  /** The entry of a key that has no value. */
  negative(): EncodedValue {
    return { flags: NEGATIVE_FLAG, headers: this.#headers, body: NO_BYTES }
  }

  /** An earlier result of `decode` that may be returned again: small enough to be inlined into a hit from memory. */
  recall({ memo }: EntryDraft, shared: boolean): Decoded | undefined {
    return memo instanceof DecodedMemo && memo.codec === this && (shared || !memo.frozen) ? memo : undefined
  }

  /** `shared`: frozen, and the same object as long as this process keeps the entry. Never rejects. */
  decode(entry: EntryDraft, shared: boolean): MaybePromise<Decoded> {
    const known = this.recall(entry, shared)
    if (known !== undefined) return known
    if (entry.kind !== 'value' || entry.headers[1] !== this.#coder.name) return UNDECODABLE
    if (entry.flags & NEGATIVE_FLAG) return NEGATIVE
    try {
      const body = unpack({ body: entry.body, codec: entry.flags >> CODEC_SHIFT })
      const decoded = chain(body, (bytes: Buffer) => this.#read(entry, bytes))
      if (isPromise(decoded)) return decoded.then((end) => this.#keep(entry, end, shared)).catch(undecodable)
      return this.#keep(entry, decoded, shared)
    } catch {
      return UNDECODABLE
    }
  }

  #read(entry: EntryDraft, body: Buffer): MaybePromise<Decoded> {
    // A copy: the memory store hands the same entry to every reader.
    const value = entry.flags & BYTES_FLAG ? Buffer.from(body) : this.#coder.decode(body)
    const { schema } = this.#format
    if (schema === undefined) return { state: 'value', value }
    return chain(schema['~standard'].validate(value), (result) => {
      if (result.issues === undefined) return { state: 'value', value: result.value }
      this.#warn(result.issues)
      return { state: 'invalid', value: undefined }
    })
  }

  #warn(issues: readonly SchemaIssue[]): void {
    if (this.#warned) return
    this.#warned = true
    const what = `a stored value of namespace '${this.#refs.namespace}' fails its schema ${describeIssues(issues)}`
    this.#format.logger.warn(
      `redwell: ${what}; it counts as a miss. Raise the namespace's \`version\` when its schema changes. Further ones are not logged`,
    )
  }

  #keep(entry: EntryDraft, decoded: Decoded, shared: boolean): Decoded {
    if (decoded.state !== 'value') return decoded
    const { value } = decoded
    if (!isObject(value)) entry.memo = new DecodedMemo(value, this, false)
    else if (shared && deepFreeze(value)) entry.memo = new DecodedMemo(value, this, true)
    return decoded
  }
}

/** The encoded bytes of a stored value, decompressed, for operators who have no coder. Throws where they are damaged. */
export function storedBytes({ flags, body }: Pick<Entry, 'flags' | 'body'>): MaybePromise<Buffer> {
  return unpack({ body, codec: flags >> CODEC_SHIFT })
}

/** Whether a stored value says that there is none. */
export function isNegative({ flags }: Pick<Entry, 'flags'>): boolean {
  return (flags & NEGATIVE_FLAG) !== 0
}

/** An entry that is stored at `now`. */
export function draftEntry(
  { flags, headers, body }: EncodedValue,
  groups: readonly string[],
  options: ResolvedValueOptions,
  now: number,
): EntryDraft {
  const { ttlMs, jitter } = options
  const freshUntil = now + ttlMs * (jitter === 0 ? 1 : 1 - jitter * Math.random())
  return {
    kind: 'value',
    flags,
    status: 0,
    storedAt: now,
    freshUntil,
    staleUntil: freshUntil + options.staleWhileRevalidateMs,
    errorUntil: freshUntil + options.staleIfErrorMs,
    initialAgeMs: 0,
    groups,
    headers,
    body,
    memo: undefined,
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** Whether an entry says what its key has, even if that is nothing. */
export function isKnown(decoded: Decoded): decoded is Known {
  return decoded.state === 'value' || decoded.state === 'negative'
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

/**
 * Freezes plain objects and lists at every depth. If the value contains something that cannot be frozen (a Date, Map,
 * Set or typed array keeps its setters), nothing is frozen and false is returned: such a value cannot be shared.
 */
function deepFreeze(value: object): boolean {
  const found = new Set<object>()
  if (!collect(value, found)) return false
  for (const object of found) Object.freeze(object)
  return true
}

function collect(value: unknown, found: Set<object>): boolean {
  if (!isObject(value) || found.has(value)) return true
  if (!Array.isArray(value)) {
    const prototype: unknown = Object.getPrototypeOf(value)
    if (prototype !== Object.prototype && prototype !== null) return false
  }
  found.add(value)
  return Object.values(value).every((inner) => collect(inner, found))
}
