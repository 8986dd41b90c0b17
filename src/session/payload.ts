import { UsageError, ValueError } from '../errors.js'
import { isPromise } from '../maybe-promise.js'
import type { SessionPolicy } from './options.js'
import type { SessionSealer } from './secrets.js'
import type { StoredProperty } from './session-store.js'
import type { SessionData, SessionSchema } from './types.js'

/** More would be a list in the wrong place: a property is a field of a hash. */
const PROPERTIES_MAX = 1000

/** What differs between data and what is stored. */
export interface PayloadChange {
  readonly set: readonly StoredProperty[]
  readonly removed: readonly string[]
  /** No property is left. */
  readonly empty: boolean
  /** The texts that are stored when this is. */
  readonly texts: ReadonlyMap<string, string>
}

/** Data in Redis that does not decrypt, decode or pass the schema: there is no such session. */
export class UnreadableError extends Error {}

type Values = Record<string, unknown>

/** The data of one session, and what is stored of it: changes are found by comparing texts, property by property. */
export class SessionPayload {
  readonly data: Values
  /** Who was signed in when the data was read or last saved. */
  principal: string | undefined
  readonly #policy: SessionPolicy
  #sealer: SessionSealer | undefined
  /** Texts of values as they were read, those of `initial` included. */
  #texts = new Map<string, string>()
  /** Names of properties that are stored. */
  #stored: ReadonlySet<string>

  /** `holder`: an empty object that becomes the data. Throws UnreadableError. */
  constructor(
    policy: SessionPolicy,
    stored: readonly (readonly [name: string, bytes: Buffer])[],
    handle: string | undefined,
    holder: Values,
  ) {
    this.#policy = policy
    this.#sealer = handle === undefined ? undefined : policy.sealer?.(handle)
    this.#stored = new Set(stored.map(([name]) => name))
    this.data = holder
    const initial = policy.initial?.()
    for (const [name, value] of initial === undefined ? [] : Object.entries(initial)) this.#put(name, value)
    for (const [name, bytes] of stored) this.#read(name, bytes)
    if (policy.schema !== undefined) this.#validateRead(policy.schema)
    this.principal = policy.principal(this.data)
  }

  /** Throws ValueError, which names properties and no values. `handle`: of the session that it will be. */
  change(handle: string | undefined): PayloadChange {
    const { form, schema } = this.#policy
    const texts = new Map<string, string>()
    const changed: [string, string][] = []
    let kept = 0
    for (const name of Object.keys(this.data)) {
      const value = this.data[name]
      const text = this.#write(name, value)
      if (text === undefined && value === undefined) continue
      if (text === undefined) throw refused(name, form.problem(value) ?? 'its toJSON() returns undefined')
      const isSame = this.#texts.get(name) === text
      if (isSame && !this.#stored.has(name)) continue
      texts.set(name, text)
      if (isSame) {
        kept += 1
        continue
      }
      const problem = name === '' ? 'a property needs a name' : form.problem(value)
      if (problem !== undefined) throw refused(name, problem)
      changed.push([name, text])
    }
    const removed = this.#stored.size === kept ? [] : [...this.#stored].filter((name) => !texts.has(name))
    if (texts.size > PROPERTIES_MAX) throw refused('', `it has more than ${PROPERTIES_MAX} properties`)
    if (schema !== undefined && changed.length + removed.length > 0) validate(schema, this.data)
    const sealer = handle === undefined ? undefined : (this.#sealer ??= this.#policy.sealer?.(handle))
    const set = changed.map(([name, text]): StoredProperty => {
      const plain = Buffer.from(text, form.encoding)
      return [name, sealer === undefined ? plain : sealer.seal(name, plain)]
    })
    return { set, removed, empty: texts.size === 0, texts }
  }

  /** What a change says is stored now. */
  commit({ texts, removed }: PayloadChange): void {
    for (const [name, text] of texts) this.#texts.set(name, text)
    for (const name of removed) this.#texts.delete(name)
    this.#stored = new Set(texts.keys())
    this.principal = this.#policy.principal(this.data)
  }

  /** Other data in the place of what is stored. */
  replacedBy(holder: Values): SessionPayload {
    const next = new SessionPayload(this.#policy, [], undefined, holder)
    next.#sealer = this.#sealer
    next.#stored = this.#stored
    next.principal = this.principal
    return next
  }

  #put(name: string, value: unknown): void {
    const text = this.#write(name, value)
    if (text === undefined) return
    this.data[name] = value
    this.#texts.set(name, text)
  }

  #read(name: string, bytes: Buffer): void {
    const { form } = this.#policy
    try {
      const plain = this.#sealer === undefined ? bytes : this.#sealer.open(name, bytes)
      const text = Buffer.from(plain.buffer, plain.byteOffset, plain.byteLength).toString(form.encoding)
      this.data[name] = form.read(text)
      this.#texts.set(name, text)
    } catch {
      // What was thrown may show the value.
      throw new UnreadableError('a property cannot be decrypted or decoded')
    }
  }

  #write(name: string, value: unknown): string | undefined {
    try {
      return this.#policy.form.write(value)
    } catch (error) {
      throw refused(name, this.#policy.form.problem(value) ?? String(error))
    }
  }

  /** What a schema adds or converts is no change of the application's. */
  #validateRead(schema: SessionSchema): void {
    const result = schema['~standard'].validate(this.data)
    if (isPromise(result)) throw asynchronous()
    // Data of a session that is new may lack what the schema requires.
    if (result.issues !== undefined) {
      if (this.#stored.size === 0) return
      throw new UnreadableError('its data does not pass the schema')
    }
    if (typeof result.value !== 'object' || result.value === null) return
    for (const [name, value] of Object.entries(result.value)) this.#put(name, value)
  }
}

function validate(schema: SessionSchema, data: Values): void {
  const result = schema['~standard'].validate(data)
  if (isPromise(result)) throw asynchronous()
  if (result.issues !== undefined) throw refused('', result.issues.map(({ message }) => message).join('; '))
}

function asynchronous(): UsageError {
  return new UsageError('The schema of sessions is asynchronous, but session data is validated synchronously.')
}

function refused(name: string, problem: string): ValueError {
  return new ValueError(`Session data${name === '' ? '' : ` '${name}'`} cannot be saved: ${problem}.`)
}

/** An object for data: names such as `__proto__` are names like others. */
export function emptyData(): SessionData & Values {
  return Object.create(null) as SessionData & Values
}
