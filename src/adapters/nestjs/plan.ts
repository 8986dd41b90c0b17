import { type ExecutionContext, RequestMethod, type Type, type VersioningOptions, VersioningType } from '@nestjs/common'
import {
  HEADERS_METADATA,
  HOST_METADATA,
  METHOD_METADATA,
  PATH_METADATA,
  RENDER_METADATA,
  RESPONSE_PASSTHROUGH_METADATA,
  ROUTE_ARGS_METADATA,
  SSE_METADATA,
  VERSION_METADATA,
} from '@nestjs/common/constants.js'
import { type ApplicationConfig, type DiscoveryService, MetadataScanner } from '@nestjs/core'
import type { RoutePathMetadata } from '@nestjs/core/router/interfaces/route-path-metadata.interface.js'
import { RoutePathFactory } from '@nestjs/core/router/route-path-factory.js'
import { RouteParamtypes } from '@nestjs/common/enums/route-paramtypes.enum.js'
import { OptionsError, UsageError } from '../../errors.js'
import type { SelectedField } from '../../http/index.js'
import type { CachedRoute } from '../../route/cached-route.js'
import { valueAt } from '../../value-at.js'
import { type DeclaredWrite, type Host, misplaced } from '../declarations.js'
import type { SentFields } from '../node/request.js'
import { CACHE_EVICT, CACHE_PUT, CACHED, type Declarations, type HttpRequest } from './decorators.js'

/** A method of a controller. */
export type Handler = (...args: never[]) => unknown

/** The declarations of a handler's decorators. */
export interface Plan {
  /** Method and template of the route. */
  readonly name: string
  readonly cachedRoute: CachedRoute<HttpRequest> | undefined
  readonly write: DeclaredWrite<HttpRequest> | undefined
  /** Names (lower case) of the fields that `@Header` sets: they belong to the representation. */
  readonly ownFields: ReadonlySet<string>
  /** The handler has `@Res()` or `@Next()`, so that Nest sends nothing. */
  readonly answersItself: boolean
  readonly renders: boolean
  /** What the router uses in addition to the path: see `NodeRequestOptions`. */
  readonly routed: (request: HttpRequest, sent: SentFields) => readonly SelectedField[]
  readonly routedBy: readonly string[]
}

/** What is derived from handlers, once for each. By controller, because a handler may be inherited. */
export class PerHandler<T extends object> {
  readonly #known = new WeakMap<Type, Map<Handler, T>>()

  constructor(private readonly make: (controller: Type, handler: Handler) => T) {}

  of(controller: Type, handler: Handler): T {
    const own = valueAt(this.#known, controller, () => new Map<Handler, T>())
    return valueAt(own, handler, () => this.make(controller, handler))
  }

  at(context: ExecutionContext): T {
    return this.of(context.getClass(), context.getHandler() as Handler)
  }
}

/** What the application decides about the paths of a controller. */
export interface Routing {
  readonly config: ApplicationConfig
  /** Path of the controller's module, by `RouterModule`. */
  readonly modulePath: string | undefined
}

/** Reads the decorators of a handler. Throws OptionsError if one is misplaced. */
export function planOf(controller: Type, handler: Handler, application: Host, routing: Routing | undefined): Plan {
  const router = routerOf(controller, handler, routing?.config.getVersioning())
  const templates = routing && templatesOf(controller, handler, routing)
  const host: Host = { ...application, traits: { ...application.traits, routedBy: router.routedBy, templates } }
  const method = methodOf(handler)
  const name = nameOf(controller, handler, templates?.[0])
  const put = metadata(handler, CACHE_PUT)
  const evict = metadata(handler, CACHE_EVICT)
  if ((put ?? evict) !== undefined && (method === RequestMethod.GET || method === RequestMethod.HEAD)) {
    const word = put === undefined ? '@CacheEvict' : '@CachePut'
    throw misplaced(word, `${word} of ${name}`)
  }
  const cachedRoute = cachedOf(controller, handler, name)?.on(host, name)
  if (cachedRoute !== undefined && !isRead(method) && !cachedRoute.anyMethod) {
    throw misplaced('@Cached', `@Cached of ${name}`)
  }
  const write = put === undefined || evict === undefined ? (put ?? evict) : put.join(evict)
  write?.on(host, name)
  const fields = (Reflect.getMetadata(HEADERS_METADATA, handler) ?? []) as readonly { readonly name: string }[]
  return {
    name,
    cachedRoute,
    write,
    ownFields: new Set(fields.map((field) => field.name.toLowerCase())),
    answersItself: answersItself(controller, handler),
    renders: Reflect.hasMetadata(RENDER_METADATA, handler),
    ...router,
  }
}

/** Hosts and versions of a handler. Versions in the path need nothing else. */
function routerOf(
  controller: Type,
  handler: Handler,
  versioning: VersioningOptions | undefined,
): Pick<Plan, 'routed' | 'routedBy'> {
  const hasHost = Reflect.getMetadata(HOST_METADATA, controller) !== undefined
  const own: unknown =
    Reflect.getMetadata(VERSION_METADATA, handler) ?? Reflect.getMetadata(VERSION_METADATA, controller)
  const declared = own ?? versioning?.defaultVersion
  const isVersioned = declared !== undefined && versioning !== undefined && versioning.type !== VersioningType.URI
  const versions = isVersioned ? [declared].flat() : []
  const field = isVersioned ? versionField(versioning) : undefined
  return {
    routed: (request, sent) => [
      ...(hasHost ? [[':host', (sent.header('host') ?? '').toLowerCase()] as const] : []),
      ...(isVersioned ? [[':version', versionOf(request, versions, versioning)] as const] : []),
    ],
    routedBy: [...(hasHost ? ['host'] : []), ...(field === undefined ? [] : [field])],
  }
}

/** `*`: an extractor of the application's own may read anything. */
function versionField(versioning: VersioningOptions): string {
  if (versioning.type === VersioningType.HEADER) return versioning.header.toLowerCase()
  return versioning.type === VersioningType.MEDIA_TYPE ? 'accept' : '*'
}

/** The version of a handler; if it has several, the one that the request asks for. */
function versionOf(request: HttpRequest, versions: readonly unknown[], versioning: VersioningOptions): string {
  if (versions.length === 1) return String(versions[0])
  if (versioning.type === VersioningType.CUSTOM) return [versioning.extractor(request)].flat().join(',')
  const asked = request.headers[versionField(versioning)]
  return `${[asked ?? []].flat().join(',')} of ${versions.map(String).join(',')}`
}

/** All methods of controllers that answer requests. Throws UsageError for decorators on any other method. */
export function declaredHandlers(discovery: DiscoveryService): [controller: Type, handler: Handler][] {
  const scanner = new MetadataScanner()
  const methodsOf = (wrappers: readonly { readonly metatype: unknown }[]): [Type, Handler][] =>
    wrappers.flatMap(({ metatype }) => {
      if (!isClass(metatype)) return []
      const prototype = metatype.prototype as Readonly<Record<string, Handler>>
      return scanner.getAllMethodNames(prototype).map((name): [Type, Handler] => [metatype, prototype[name] as Handler])
    })
  const isRoute = ([, handler]: [Type, Handler]): boolean => methodOf(handler) !== undefined
  const handlers = methodsOf(discovery.getControllers())
  const others = [...handlers.filter((one) => !isRoute(one)), ...methodsOf(discovery.getProviders())]
  for (const [owner, handler] of others) {
    if ([CACHED, CACHE_PUT, CACHE_EVICT].every((key) => !Reflect.hasMetadata(key, handler))) continue
    throw new UsageError(
      `${owner.name}.${handler.name} is not a route: @Cached, @CachePut and @CacheEvict work on controller methods only. Use CacheBackend for other values.`,
    )
  }
  return handlers.filter(isRoute)
}

function isClass(metatype: unknown): metatype is Type {
  return typeof metatype === 'function' && typeof metatype.prototype === 'object' && metatype.prototype !== null
}

/** Its own `@Cached`, or, for its GETs, that of the controller. */
function cachedOf(controller: Type, handler: Handler, name: string): Declarations[typeof CACHED] | undefined {
  const isEventStream = Reflect.getMetadata(SSE_METADATA, handler) === true
  const declared = metadata(handler, CACHED)
  if (declared !== undefined && isEventStream) {
    throw new OptionsError(`@Cached of ${name}`, ['an event stream never ends, so it cannot be stored'])
  }
  return declared ?? (isRead(methodOf(handler)) && !isEventStream ? metadata(controller, CACHED) : undefined)
}

function isRead(method: RequestMethod | undefined): boolean {
  return method === RequestMethod.GET || method === RequestMethod.HEAD || method === RequestMethod.ALL
}

function metadata<K extends keyof Declarations>(target: object, key: K): Declarations[K] | undefined {
  return Reflect.getMetadata(key, target) as Declarations[K] | undefined
}

function methodOf(handler: Handler): RequestMethod | undefined {
  return Reflect.getMetadata(METHOD_METADATA, handler) as RequestMethod | undefined
}

/** Method and template of a handler. Without `template` that of its decorators: prefix and version are left out. */
export function nameOf(controller: Type, handler: Handler, template?: string): string {
  const method = methodOf(handler)
  const paths = [controller, handler].map((target) => pathsIn(target)[0])
  const parts = paths.flatMap((path) => String(path).split('/')).filter((part) => part !== '')
  return `${method === undefined ? 'ALL' : RequestMethod[method]} ${template ?? `/${parts.join('/')}`}`
}

function pathsIn(target: Type | Handler): string[] {
  return [(Reflect.getMetadata(PATH_METADATA, target) as string | string[] | undefined) ?? ''].flat()
}

/** The paths at which Nest's router serves a handler: with the global prefix, and versions in the path. */
function templatesOf(controller: Type, handler: Handler, { config, modulePath }: Routing): readonly string[] {
  const versioningOptions = config.getVersioning()
  const factory = new RoutePathFactory(config)
  const common = {
    modulePath,
    globalPrefix: config.getGlobalPrefix(),
    methodVersion: Reflect.getMetadata(VERSION_METADATA, handler) as unknown,
    controllerVersion:
      (Reflect.getMetadata(VERSION_METADATA, controller) as unknown) ?? versioningOptions?.defaultVersion,
    versioningOptions,
  }
  return pathsIn(controller).flatMap((ctrlPath) =>
    pathsIn(handler).flatMap((methodPath) =>
      factory.create({ ...common, ctrlPath, methodPath } as RoutePathMetadata, methodOf(handler)),
    ),
  )
}

function answersItself(controller: Type, handler: Handler): boolean {
  // A decorator may have replaced the method by another function.
  const names = new MetadataScanner().getAllMethodNames(controller.prototype as object)
  const name = names.find((one) => Reflect.get(controller.prototype as object, one) === handler) ?? handler.name
  if (Reflect.getMetadata(RESPONSE_PASSTHROUGH_METADATA, controller, name) === true) return false
  const args = (Reflect.getMetadata(ROUTE_ARGS_METADATA, controller, name) ?? {}) as object
  const kinds = Object.keys(args).map((key) => Number(key.split(':')[0]))
  return kinds.includes(RouteParamtypes.RESPONSE) || kinds.includes(RouteParamtypes.NEXT)
}
