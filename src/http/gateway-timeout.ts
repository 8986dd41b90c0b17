import type { Outgoing } from './contract.js'

const NO_CONTENT = Buffer.alloc(0)

/**
 * The answer where only the store may answer and it cannot (`only-if-cached`, RFC 9111 section 5.2.1.7), or where the
 * handler fails and the stored response must be validated (section 5.2.2.2). It is not a response of the cache's
 * resource, so it has no status field (RFC 9211 section 2).
 */
export function gatewayTimeout(): Outgoing {
  return { status: 504, headers: ['Cache-Control', 'no-store'], body: NO_CONTENT, memo: undefined }
}
