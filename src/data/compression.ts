import { promisify } from 'node:util'
import zlib from 'node:zlib'
import { describeValue, isOptionsObject, unknownOptions } from '../errors.js'
import { chain, type MaybePromise } from '../maybe-promise.js'

/** Codecs of `node:zlib`. `zstd` needs Node 22.15, 23.8 or newer. */
export type CompressionCodec = 'brotli' | 'deflate' | 'zstd'

/** How values are compressed. */
export interface CompressionOptions {
  /** Encoded values of at least this many bytes are compressed. Default 4096. */
  readonly threshold?: number | undefined
  /** Codec. Default `'brotli'`. `'zstd'` needs a Node.js whose `node:zlib` has it (22.15, 23.8 or later). */
  readonly codec?: CompressionCodec | undefined
  /** Brotli 0 to 11, deflate 1 to 9, zstd 1 to 22. Default 1: higher levels cost several times as much and save little. */
  readonly level?: number | undefined
}

/** Bytes and their codec, so that any process can read them regardless of its own codec. */
export interface Packed {
  readonly body: Buffer
  /** 0: not compressed; otherwise the codec's number. */
  readonly codec: number
}

/**
 * Where reading costs no more CPU time than the saved bytes take on a line of 1 Gbit/s (measured: Brotli 1, JSON of
 * 4 KiB to 38 %, 18 us to read). Smaller values only become slower.
 */
const DEFAULT_THRESHOLD_BYTES = 4096

const DEFAULT_LEVEL = 1

/** More is compressed in the thread pool: this much blocks the event loop for about half a millisecond. */
const OFF_THREAD_BYTES = 128 * 1024

/** More is decompressed in the thread pool: the same amount, at a third of its size. */
const OFF_THREAD_PACKED_BYTES = OFF_THREAD_BYTES / 3

/** What decompression on the event loop may produce before it moves to the thread pool: a few milliseconds of work. */
const SYNC_OUTPUT_BYTES = 1024 * 1024

/** What decompression may produce at all: damaged or hostile bytes inflate a thousandfold. Larger values are not compressed. */
const OUTPUT_MAX_BYTES = 64 * 1024 * 1024

interface Codec {
  readonly number: number
  readonly levels: readonly [least: number, most: number]
  pack(bytes: Uint8Array, level: number): Buffer
  packAsync(bytes: Uint8Array, level: number): Promise<Buffer>
  /** Throws if the output would be larger than `maxOutputLength`. */
  unpack(bytes: Uint8Array, options: Bound): Buffer
  unpackAsync(bytes: Uint8Array, options: Bound): Promise<Buffer>
}

interface Bound {
  readonly maxOutputLength: number
}

type Done = (error: Error | null, bytes: Buffer) => void

/** The part of `node:zlib` that Node.js 20 and its types do not have. */
interface ZstdModule {
  readonly constants: { readonly ZSTD_c_compressionLevel: number }
  readonly zstdCompress: (bytes: Uint8Array, options: object, done: Done) => void
  readonly zstdCompressSync: (bytes: Uint8Array, options: object) => Buffer
  readonly zstdDecompress: (bytes: Uint8Array, options: object, done: Done) => void
  readonly zstdDecompressSync: (bytes: Uint8Array, options: object) => Buffer
}

const brotliOptions = (bytes: Uint8Array, level: number): zlib.BrotliOptions => ({
  params: { [zlib.constants.BROTLI_PARAM_QUALITY]: level, [zlib.constants.BROTLI_PARAM_SIZE_HINT]: bytes.length },
})

const brotli: Codec = {
  number: 1,
  levels: [0, 11],
  pack: (bytes, level) => zlib.brotliCompressSync(bytes, brotliOptions(bytes, level)),
  packAsync: (bytes, level) => promisify(zlib.brotliCompress)(bytes, brotliOptions(bytes, level)),
  unpack: (bytes, bound) => zlib.brotliDecompressSync(bytes, bound),
  unpackAsync: (bytes, bound) => promisify(zlib.brotliDecompress)(bytes, bound),
}

const deflate: Codec = {
  number: 2,
  levels: [1, 9],
  pack: (bytes, level) => zlib.deflateRawSync(bytes, { level }),
  packAsync: (bytes, level) => promisify<Uint8Array, zlib.ZlibOptions, Buffer>(zlib.deflateRaw)(bytes, { level }),
  unpack: (bytes, bound) => zlib.inflateRawSync(bytes, bound),
  unpackAsync: (bytes, bound) => promisify<Uint8Array, zlib.ZlibOptions, Buffer>(zlib.inflateRaw)(bytes, bound),
}

const CODECS: Readonly<Record<CompressionCodec, Codec | undefined>> = { brotli, deflate, zstd: zstdOf(zlib) }

const BY_NUMBER = new Map(Object.values(CODECS).map((codec) => [codec?.number, codec]))

function hasZstd(module: object): module is ZstdModule {
  return 'zstdCompressSync' in module
}

function zstdOf(module: object): Codec | undefined {
  if (!hasZstd(module)) return undefined
  const options = (level: number): object => ({ params: { [module.constants.ZSTD_c_compressionLevel]: level } })
  return {
    number: 3,
    levels: [1, 22],
    pack: (bytes, level) => module.zstdCompressSync(bytes, options(level)),
    packAsync: (bytes, level) => promisify(module.zstdCompress)(bytes, options(level)),
    unpack: (bytes, bound) => module.zstdDecompressSync(bytes, bound),
    unpackAsync: (bytes, bound) => promisify(module.zstdDecompress)(bytes, bound),
  }
}

/** Compresses what one namespace stores. */
export interface Compressor {
  pack(bytes: Buffer): MaybePromise<Packed>
}

const NO_COMPRESSION: Compressor = { pack: (body) => ({ body, codec: 0 }) }

/** Checks `compression`; problems are added to the list. */
export function resolveCompression(option: boolean | CompressionOptions | undefined, problems: string[]): Compressor {
  if (option === undefined || option === false) return NO_COMPRESSION
  if (option !== true && !isOptionsObject(option)) {
    problems.push(`compression: ${describeValue(option)} must be true, false or an object of options`)
    return NO_COMPRESSION
  }
  if (option !== true)
    problems.push(...unknownOptions(option, ['threshold', 'codec', 'level']).map((problem) => `compression.${problem}`))
  const {
    threshold = DEFAULT_THRESHOLD_BYTES,
    codec: name = 'brotli',
    level = DEFAULT_LEVEL,
  } = option === true ? {} : option
  if (!(typeof threshold === 'number' && threshold >= 0))
    problems.push(`compression.threshold: ${describeValue(threshold)} is not a number of bytes`)
  if (!Object.hasOwn(CODECS, name)) {
    problems.push(`compression.codec: ${describeValue(name)} is not one of 'brotli', 'deflate', 'zstd'`)
    return NO_COMPRESSION
  }
  const codec = CODECS[name]
  if (codec === undefined) {
    problems.push(`compression.codec: this Node.js (${process.version}) has no zstd; use 'brotli', or 22.15 or later`)
    return NO_COMPRESSION
  }
  const [least, most] = codec.levels
  if (!Number.isInteger(level) || level < least || level > most)
    problems.push(`compression.level: ${describeValue(level)} is not a whole number from ${least} to ${most} (${name})`)
  return { pack: (body) => (body.length < threshold ? { body, codec: 0 } : compress(codec, level, body)) }
}

function compress(codec: Codec, level: number, body: Buffer): MaybePromise<Packed> {
  if (body.length > OUTPUT_MAX_BYTES) return { body, codec: 0 }
  const packed = body.length > OFF_THREAD_BYTES ? codec.packAsync(body, level) : codec.pack(body, level)
  return chain(packed, (smaller: Buffer) =>
    smaller.length < body.length ? { body: smaller, codec: codec.number } : { body, codec: 0 },
  )
}

/** The original bytes. Throws if they are damaged, too many, or compressed by a codec that this Node.js lacks. */
export function unpack({ body, codec: number }: Packed): MaybePromise<Buffer> {
  if (number === 0) return body
  const codec = BY_NUMBER.get(number)
  if (codec === undefined) throw new TypeError(`unknown codec ${number}`)
  if (body.length > OFF_THREAD_PACKED_BYTES) return codec.unpackAsync(body, { maxOutputLength: OUTPUT_MAX_BYTES })
  try {
    return codec.unpack(body, { maxOutputLength: SYNC_OUTPUT_BYTES })
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    return codec.unpackAsync(body, { maxOutputLength: OUTPUT_MAX_BYTES })
  }
}
