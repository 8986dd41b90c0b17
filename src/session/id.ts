import { hash, randomBytes } from 'node:crypto'
import type { SessionKey } from './session-store.js'

/** Length of every session cookie's value: a handle, the subject's tag and a secret, in base64url. */
const ID_LENGTH = 87

const HANDLE_LENGTH = 22

const SECRET_AT = 44

/** 128 and 256 bits in base64url: the last character of each part has unused bits, which are zero. */
const FORM = /^[A-Za-z0-9_-]{21}[AQgw][A-Za-z0-9_-]{21}[AQgw][A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/

const HANDLE_FORM = /^[A-Za-z0-9_-]{21}[AQgw]$/

/** The tag of a session that belongs to no subject. */
const NO_TAG = 'A'.repeat(HANDLE_LENGTH)

/** What a session cookie says. Only `text` opens a session; it is in nothing that is stored, logged or reported. */
export interface SessionId {
  readonly text: string
  /** Names the session: its key, and its place in device lists. */
  readonly handle: string
  /** Names the subject's record; undefined if no user has signed in. */
  readonly tag: string | undefined
  /** SHA-256 of `text` in base64url, which is stored in its place. A text: buffers in commands cost a write each. */
  readonly digest: string
}

/** What a store gets to see of an id: nothing that opens a session. */
export function keyOf({ handle, tag, digest }: SessionId): SessionKey {
  return { handle, tag, digest }
}

/** The id of a cookie's value; undefined where it was not made here. */
export function parseId(text: string): SessionId | undefined {
  if (text.length !== ID_LENGTH || !FORM.test(text)) return undefined
  const tag = text.slice(HANDLE_LENGTH, SECRET_AT)
  return idOf(text, text.slice(0, HANDLE_LENGTH), tag === NO_TAG ? undefined : tag)
}

/** The text with every session id in it made useless: what stays names a session and opens nothing. */
export function withoutIds(text: string): string {
  return text.replaceAll(/(?<![\w-])([\w-]{44})[\w-]{43}(?![\w-])/g, `$1${'A'.repeat(ID_LENGTH - SECRET_AT)}`)
}

/** A new id: of the session with this handle, or of a new one. */
export function newId(tag: string | undefined, handle: string = nonce()): SessionId {
  return idOf(handle + (tag ?? NO_TAG) + randomBytes(32).toString('base64url'), handle, tag)
}

export function isHandle(text: unknown): text is string {
  return typeof text === 'string' && HANDLE_FORM.test(text)
}

/** 128 random bits as 22 characters. */
export function nonce(): string {
  return randomBytes(16).toString('base64url')
}

/** The name of a subject's record: a subject may be an address or another text that has no business in a key. */
export function tagOf(subject: string): string {
  return hash('sha256', `redwell:subject:${subject}`, 'buffer').subarray(0, 16).toString('base64url')
}

function idOf(text: string, handle: string, tag: string | undefined): SessionId {
  return { text, handle, tag, digest: hash('sha256', text, 'base64url') }
}
