import type { CommandArgument, Reply } from './connection.js'

/** `key` says which node of a cluster answers; without one any does. */
export type Send = (args: readonly CommandArgument[], key: string | undefined) => Promise<Reply>

/** `$`, the driver's `RESP_TYPES.BLOB_STRING`. */
const BLOB_STRING = 36

/**
 * Options of our own way to send over the application's client and its connection. No time-out of the driver (it makes
 * a signal per command): the deadline is ours. A view of the client is made once with them, because options given with
 * each command are merged by the driver each time, which doubles the CPU time of a GET. The cast is for its exact
 * optional type.
 */
export const REPLIES_AS_BYTES = { timeout: undefined, typeMapping: { [BLOB_STRING]: Buffer } } as unknown as {
  typeMapping: { [BLOB_STRING]: typeof Buffer }
}

/** The driver may hold a command back while it looks for a server; ours are sent now or not at all. */
export function offline(where: string): Promise<never> {
  return Promise.reject(new Error(`Redis at ${where} is not connected.`))
}
