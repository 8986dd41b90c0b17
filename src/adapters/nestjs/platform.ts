import type { HttpAdapterHost } from '@nestjs/core'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { HostTraits } from '../../route/registry.js'
import type { Dispatch } from '../node/refresher.js'
import type { PlatformRequest } from '../node/request.js'

/** What the requests of Express and Fastify have in common. Name the platform's own type for more. */
export interface HttpRequest extends PlatformRequest {
  readonly method: string
  readonly url: string
  readonly ip?: string | undefined
  readonly params: unknown
  readonly query: unknown
  readonly body: unknown
}

/** A response of Express is Node's own; one of Fastify has it. */
export interface PlatformResponse {
  readonly raw?: ServerResponse
  getHeaders(): Record<string, unknown>
  send(body?: unknown): unknown
  render?: unknown
  view?: unknown
}

export function rawResponse(response: object): ServerResponse {
  return (response as PlatformResponse).raw ?? (response as ServerResponse)
}

export function rawRequest(request: object): IncomingMessage {
  return (request as { readonly raw?: IncomingMessage }).raw ?? (request as IncomingMessage)
}

/** Keeps a template from being rendered for an answer that is there already. */
export function skipRendering(response: PlatformResponse): void {
  const answer = (): unknown => response.send()
  Object.assign(response, response.raw === undefined ? { render: answer } : { view: answer })
}

/** As far as the two platforms' own applications are asked about. */
interface Application {
  (req: IncomingMessage, res: ServerResponse): void
  enabled?(setting: string): boolean
  readonly initialConfig?: PathConfig & { readonly routerOptions?: PathConfig }
  readonly routing?: Dispatch
}

type PathConfig = HostTraits['path']

/** The application that requests enter by. */
export function dispatchOf({ httpAdapter }: HttpAdapterHost): Dispatch {
  const application = httpAdapter.getInstance<Application>()
  return application.routing ?? application
}

/** How the platform tells paths apart. */
export function pathOf({ httpAdapter }: HttpAdapterHost): HostTraits['path'] {
  const application = httpAdapter.getInstance<Application>()
  const { initialConfig } = application
  if (initialConfig === undefined) return { ignoreTrailingSlash: application.enabled?.('strict routing') === false }
  const { ignoreTrailingSlash, ignoreDuplicateSlashes } = { ...initialConfig, ...initialConfig.routerOptions }
  // Not asked about case: parameters keep theirs, whatever the router does with the rest.
  return { ignoreTrailingSlash, ignoreDuplicateSlashes }
}
