import { OptionsError } from '../errors.js'
import type { Logger } from '../logger.js'
import type { Coder } from './coder.js'
import { type CompressionOptions, type Compressor, resolveCompression } from './compression.js'
import { groupProblem } from './group.js'
import type { Key } from './key.js'
import { checkValueOptions, type LoadOptions, type ResolvedValueOptions } from './options.js'
import { schemaProblem, type StandardSchema } from './schema.js'
import type { ValueDefaults } from './value-cache.js'
import { Values } from './values.js'

/** What holds for all values of a namespace; calls may say otherwise, and their groups add up. */
export interface NamespaceOptions<K = Key> extends Omit<LoadOptions, 'group'> {
  /** Groups that all values are in, or a function of the key that names them. */
  group?: string | readonly string[] | ((key: K) => string | readonly string[]) | undefined
  /** Part of every key: values of another version are never met, so that a deploy is a miss and not a crash. */
  version?: number | string | undefined
  /** How values become bytes. Default JSON. A `Uint8Array` is kept as it is by every coder, and read as a Buffer. */
  coder?: Coder | undefined
  /** Compress values of 4 KiB and more (Brotli), or as said. Default false. */
  compression?: boolean | CompressionOptions | undefined
  /** Checks values when they are stored and when they are read. What it gives is what is stored; what it refuses when read is a miss. */
  schema?: StandardSchema | undefined
  /** The parts of a key, from the identifier that callers use. */
  key?: ((key: K) => Key) | undefined
  /** True: values are deep-frozen, and as long as one is in this process' memory everybody is given the same object. Default false. */
  shared?: boolean | undefined
}

/** Checked options of a namespace. */
export interface ResolvedNamespace {
  readonly values: Values
  readonly defaults: ValueDefaults
}

/** Throws OptionsError with every problem. */
export function resolveNamespace<K>(
  name: string,
  options: NamespaceOptions<K>,
  base: ResolvedValueOptions,
  logger: Logger,
): ResolvedNamespace {
  const problems: string[] = []
  const { group, coder, schema, version } = options
  const nameProblem = groupProblem(name)
  if (nameProblem !== undefined) problems.push(`name: ${nameProblem.replace('group', 'namespace')}`)
  if (schema !== undefined) problems.push(...[schemaProblem(schema)].filter((problem) => problem !== undefined))
  problems.push(...coderProblems(coder), ...versionProblems(version))
  if (options.key !== undefined && typeof options.key !== 'function') problems.push('key: must be a function')
  const compressor: Compressor = resolveCompression(options.compression, problems)
  const fixed = { ...options, group: typeof group === 'function' ? undefined : group }
  const resolved = checkValueOptions(fixed, base, problems)
  if (problems.length > 0) throw new OptionsError(`options of namespace '${name}'`, problems)
  const onInvalid = once((reason) => logger.warn(invalidMessage(name, reason)))
  const values = new Values({ namespace: name, version, coder, schema, compressor, onInvalid })
  return { values, defaults: { options: resolved, shared: options.shared === true } }
}

function coderProblems(coder: unknown): string[] {
  if (coder === undefined) return []
  const { name, encode, decode } = (coder ?? {}) as Partial<Coder>
  const problems: string[] = []
  if (typeof encode !== 'function' || typeof decode !== 'function')
    problems.push('coder: needs a name, encode(value) and decode(bytes)')
  // It stands in the entry's header lines, which are latin1.
  if (typeof name !== 'string' || !/^[\x20-\x7e]+$/.test(name)) problems.push('coder: its name must be printable ASCII')
  return problems
}

function versionProblems(version: unknown): string[] {
  const good =
    version === undefined || (typeof version === 'number' && Number.isFinite(version)) || typeof version === 'string'
  return good ? [] : ['version: must be a number or a text']
}

function invalidMessage(name: string, reason: string): string {
  return `redwell: a stored value of namespace '${name}' fails its schema ${reason}; it is a miss. Raise the namespace's \`version\` with its schema; this is said once`
}

function once(say: (reason: string) => void): (reason: string) => void {
  let said = false
  return (reason) => {
    if (said) return
    said = true
    say(reason)
  }
}
