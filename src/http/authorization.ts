import type { ResponseDirectives } from './response-directives.js'

/** Whether a shared cache may use the response for requests with Authorization (RFC 9111 section 3.5). */
export function allowsSharing(directives: ResponseDirectives): boolean {
  return directives.public || directives.mustRevalidate || directives.sMaxage !== undefined
}
