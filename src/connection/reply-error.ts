import { driver } from './driver.js'

/**
 * First words of replies by which a server says that it cannot serve for now: it reads its data, it is a replica, a
 * script blocks it, its cluster is incomplete, or it wants another password. Every other error is an answer.
 */
const AWAY = new Set(['LOADING', 'READONLY', 'BUSY', 'MASTERDOWN', 'CLUSTERDOWN', 'NOAUTH'])

/** Their names, because a client that was given may come from another copy of the driver. */
const REPLY_ERRORS = new Set(['SimpleError', 'BlobError'])

/** An answer of the server that says no, such as OOM; everything else means that no answer came. */
export function isReply(error: unknown): error is Error {
  return error instanceof driver().ErrorReply || (error instanceof Error && REPLY_ERRORS.has(error.constructor.name))
}

/** The code of an error reply, which is its first word. */
export function codeOf(error: Error): string {
  const end = error.message.indexOf(' ')
  return end === -1 ? error.message : error.message.slice(0, end)
}

/** Whether an error reply means that this server does not serve at the moment. */
export function saysAway(error: Error): boolean {
  return AWAY.has(codeOf(error))
}
