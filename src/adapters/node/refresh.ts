import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import type { RequestContext } from '../../route/request.js'

/** What answers requests: an application of a framework, or a router. */
export type Dispatch = (message: IncomingMessage, response: ServerResponse) => void

/** A request of our own with the keyed inputs of another one, and nothing of the user who sent that. */
export function refreshRequest(
  request: Pick<RequestContext<unknown>, 'target' | 'origin' | 'header'>,
  keyedFields: readonly string[],
): IncomingMessage {
  const { protocol, host } = new URL(request.origin)
  const message = new IncomingMessage(new NoSocket(protocol === 'https:'))
  message.method = 'GET'
  message.url = request.target
  message.httpVersion = '1.1'
  message.httpVersionMajor = 1
  message.httpVersionMinor = 1
  message.complete = true
  for (const name of new Set(['host', ...keyedFields])) {
    const value = name === 'host' ? host : request.header(name)
    if (value === undefined) continue
    message.headers[name] = value
    message.rawHeaders.push(name, value)
  }
  // No body: its end is there at once.
  message.push(null)
  return message
}

/** Resolves when the application has answered. */
export function respond(dispatch: Dispatch, message: IncomingMessage): Promise<void> {
  const response = new ServerResponse(message)
  response.assignSocket(message.socket)
  return new Promise((resolve) => {
    response.once('finish', () => {
      response.detachSocket(message.socket)
      response.emit('close')
    })
    response.once('close', () => {
      message.socket.destroy()
      resolve()
    })
    dispatch(message, response)
  })
}

/**
 * A connection whose other end takes everything and never sends. Its address is one that is reserved for documentation
 * (RFC 5737): a refresh must not pass what admits local clients only.
 */
class NoSocket extends Socket {
  override readonly remoteAddress = '192.0.2.1'
  override readonly remoteFamily = 'IPv4'
  override readonly remotePort = 0
  readonly encrypted: boolean

  constructor(encrypted: boolean) {
    super()
    this.encrypted = encrypted
    // A handler that writes on after the end, or destroys its socket, must not end the process.
    this.on('error', () => {})
  }

  override _read(): void {}

  override _write(_chunk: unknown, _encoding: BufferEncoding, done: () => void): void {
    done()
  }

  /** Without it the writes of one turn would go to the handle of a real socket, which is not there. */
  override _writev(_chunks: unknown, done: () => void): void {
    done()
  }
}
