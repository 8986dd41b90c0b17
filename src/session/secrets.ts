import { LRUCache } from 'lru-cache'
import { createCipheriv, createDecipheriv, createHmac, hash, randomBytes } from 'node:crypto'
import { OptionsError } from '../errors.js'
import { valueAt } from '../value-at.js'
import type { SessionEncryptor } from './types.js'

/** Encrypts the properties of one session. */
export interface SessionSealer {
  seal(property: string, plain: Buffer): Uint8Array
  /** Throws where the bytes were not sealed for this property of this session. */
  open(property: string, stored: Buffer): Uint8Array
}

/** Makes the sealer of a session by its handle. */
export type Sealer = (handle: string) => SessionSealer

const SECRET_MIN = 32

/** Version, name of the secret, nonce, tag, text. */
const VERSION = 1
const NAME_BYTES = 4
const NONCE_BYTES = 12
const TAG_BYTES = 16
const NONCE_AT = 1 + NAME_BYTES
const TAG_AT = NONCE_AT + NONCE_BYTES
const TEXT_AT = TAG_AT + TAG_BYTES

interface NamedSecret {
  /** From its digest, so that the order of secrets may change. */
  readonly name: number
  readonly key: Buffer
  /** Keys of sessions by their handles: a visitor comes back, and to derive one costs as much as half a property. */
  readonly keys: LRUCache<string, Buffer>
}

/** Keys and names that are kept ready. */
const READY_MAX = 1000

/** Names of properties as bytes. */
const names = new LRUCache<string, Buffer>({ max: READY_MAX })

const bytesOf = (name: string): Buffer => valueAt<string, Buffer>(names, name, () => Buffer.from(name))

/** What is wrong with secrets; they are named by their place and never shown. */
export function secretProblems(secrets: unknown): string[] {
  if (secrets === undefined) return []
  const list: readonly unknown[] = Array.isArray(secrets) ? secrets : [secrets]
  if (list.length === 0) return ['secrets: must contain at least one']
  return list.flatMap((secret, index) =>
    typeof secret === 'string' && secret.length >= SECRET_MIN
      ? []
      : [`secrets: number ${index + 1} must be a string of at least ${SECRET_MIN} characters`],
  )
}

export function sealerOf(
  secrets: string | readonly string[] | undefined,
  encryptor: SessionEncryptor | undefined,
): Sealer | undefined {
  if (encryptor !== undefined) {
    return (handle) => ({
      seal(property, plain) {
        const bytes: unknown = encryptor.encrypt(plain, { handle, property })
        if (bytes instanceof Uint8Array) return bytes
        throw new OptionsError('options of sessions', [
          'encryptor: encrypt() must return bytes, and not asynchronously',
        ])
      },
      open: (property, stored) => encryptor.decrypt(stored, { handle, property }),
    })
  }
  if (secrets === undefined) return undefined
  const named = [secrets].flat().map((secret): NamedSecret => {
    const key = hash('sha256', `redwell:session:${secret}`, 'buffer')
    return { key, name: hash('sha256', key, 'buffer').readUInt32BE(), keys: new LRUCache({ max: READY_MAX }) }
  })
  return (handle) => new SecretSealer(named, handle)
}

/** AES-256-GCM by a key of the session's own, so that what is copied to another session or property does not open. */
class SecretSealer implements SessionSealer {
  readonly #secrets: readonly NamedSecret[]
  readonly #handle: string

  constructor(secrets: readonly NamedSecret[], handle: string) {
    this.#secrets = secrets
    this.#handle = handle
  }

  seal(property: string, plain: Buffer): Buffer {
    const [secret] = this.#secrets as [NamedSecret]
    const head = Buffer.alloc(TEXT_AT)
    head[0] = VERSION
    head.writeUInt32BE(secret.name, 1)
    const nonce = randomBytes(NONCE_BYTES)
    nonce.copy(head, NONCE_AT)
    const cipher = createCipheriv('aes-256-gcm', this.#keyOf(secret), nonce).setAAD(bytesOf(property))
    const text = [cipher.update(plain), cipher.final()]
    cipher.getAuthTag().copy(head, TAG_AT)
    return Buffer.concat([head, ...text])
  }

  open(property: string, stored: Buffer): Buffer {
    if (stored[0] !== VERSION || stored.length < TEXT_AT) throw new Error('not encrypted')
    const name = stored.readUInt32BE(1)
    const secret = this.#secrets.find((one) => one.name === name)
    if (secret === undefined) throw new Error('encrypted with another secret')
    const decipher = createDecipheriv('aes-256-gcm', this.#keyOf(secret), stored.subarray(NONCE_AT, TAG_AT))
      .setAAD(bytesOf(property))
      .setAuthTag(stored.subarray(TAG_AT, TEXT_AT))
    const text = decipher.update(stored.subarray(TEXT_AT))
    const rest = decipher.final()
    return rest.length === 0 ? text : Buffer.concat([text, rest])
  }

  #keyOf({ key, keys }: NamedSecret): Buffer {
    return valueAt<string, Buffer>(keys, this.#handle, () => createHmac('sha256', key).update(this.#handle).digest())
  }
}
