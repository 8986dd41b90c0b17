import type { MaybePromise } from '../maybe-promise.js'
import { promisify } from 'node:util'
import zlib from 'node:zlib'

export type CompressionCodec = 'brotli' | 'deflate' | 'zstd'

export interface CompressionOptions {
  /** Encoded values of at least this many bytes are compressed. Default 4096. */
  readonly threshold?: number | undefined
  /** Default `'brotli'`. `'zstd'` needs a Node.js whose `node:zlib` has it (22.15, 23.8 or later). */
  readonly codec?: CompressionCodec | undefined
  /** Brotli 0 to 11, deflate 1 to 9, zstd 1 to 22. Default 1: further levels cost several times as much and save little. */
  readonly level?: number | undefined
}

/** What an entry needs to say so that any process can read it, whatever it compresses with itself. */
export interface Packed {
  readonly body: Buffer
  /** 0: as it is; otherwise the codec's number. */
  readonly codec: number
}

/**
 * Where reading costs no more CPU time than the bytes it saves take on a line of 1 Gbit/s (measured: Brotli 1, JSON of
 * 4 KiB to 38 %, 18 us to read). Below it a value only becomes slower.
 */
const DEFAULT_THRESHOLD_BYTES = 4096

const DEFAULT_LEVEL = 1

/** Over it the thread pool does the work: these bytes take about half a millisecond, in which nobody else is served. */
const OFF_THREAD_BYTES = 128 * 1024

/** The same for packed bytes, which become about three times as many. */
const OFF_THREAD_PACKED_BYTES = OFF_THREAD_BYTES / 3

interface Codec {
  readonly number: number
  readonly levels: readonly [least: number, most: number]
  pack(bytes: Uint8Array, level: number): Buffer
  packAway(bytes: Uint8Array, level: number): Promise<Buffer>
  unpack(bytes: Uint8Array): Buffer
  unpackAway(bytes: Uint8Array): Promise<Buffer>
}

type Done = (error: Error | null, bytes: Buffer) => void

interface ZstdModule {
  readonly constants: { readonly ZSTD_c_compressionLevel: number }
  readonly zstdCompress: (bytes: Uint8Array, options: object, done: Done) => void
  readonly zstdCompressSync: (bytes: Uint8Array, options: object) => Buffer
  readonly zstdDecompress: (bytes: Uint8Array, done: Done) => void
  readonly zstdDecompressSync: (bytes: Uint8Array) => Buffer
}

const brotliOptions = (bytes: Uint8Array, level: number): zlib.BrotliOptions => ({
  params: { [zlib.constants.BROTLI_PARAM_QUALITY]: level, [zlib.constants.BROTLI_PARAM_SIZE_HINT]: bytes.length },
})

const brotli: Codec = {
  number: 1,
  levels: [0, 11],
  pack: (bytes, level) => zlib.brotliCompressSync(bytes, brotliOptions(bytes, level)),
  packAway: (bytes, level) => promisify(zlib.brotliCompress)(bytes, brotliOptions(bytes, level)),
  unpack: (bytes) => zlib.brotliDecompressSync(bytes),
  unpackAway: (bytes) => promisify(zlib.brotliDecompress)(bytes),
}

const deflate: Codec = {
  number: 2,
  levels: [1, 9],
  pack: (bytes, level) => zlib.deflateRawSync(bytes, { level }),
  packAway: (bytes, level) => promisify(zlib.deflateRaw as Zlib)(bytes, { level }),
  unpack: (bytes) => zlib.inflateRawSync(bytes),
  unpackAway: (bytes) => promisify(zlib.inflateRaw as Zlib)(bytes, {}),
}

type Zlib = (bytes: Uint8Array, options: zlib.ZlibOptions, done: Done) => void

const CODECS: Readonly<Record<CompressionCodec, Codec | undefined>> = { brotli, deflate, zstd: zstdOf(zlib) }

const BY_NUMBER = new Map(Object.values(CODECS).map((codec) => [codec?.number, codec]))

function zstdOf(found: object): Codec | undefined {
  if (!('zstdCompressSync' in found)) return undefined
  const zstd = found as unknown as ZstdModule
  const options = (level: number): object => ({ params: { [zstd.constants.ZSTD_c_compressionLevel]: level } })
  return {
    number: 3,
    levels: [1, 22],
    pack: (bytes, level) => zstd.zstdCompressSync(bytes, options(level)),
    packAway: (bytes, level) => promisify(zstd.zstdCompress)(bytes, options(level)),
    unpack: (bytes) => zstd.zstdDecompressSync(bytes),
    unpackAway: (bytes) => promisify(zstd.zstdDecompress)(bytes),
  }
}

/** One namespace's way to compress what it stores. */
export interface Compressor {
  pack(bytes: Buffer): MaybePromise<Packed>
}

const NEVER: Compressor = { pack: (body) => ({ body, codec: 0 }) }

/** Checks `compression`, adding to the problems. */
export function resolveCompression(option: boolean | CompressionOptions | undefined, problems: string[]): Compressor {
  if (option === undefined || option === false) return NEVER
  const {
    threshold = DEFAULT_THRESHOLD_BYTES,
    codec: name = 'brotli',
    level = DEFAULT_LEVEL,
  } = option === true ? {} : option
  if (!(threshold >= 0)) problems.push(`compression.threshold: ${String(threshold)} is not a number of bytes`)
  if (!Object.hasOwn(CODECS, name)) {
    problems.push(`compression.codec: '${name}' is none of 'brotli', 'deflate', 'zstd'`)
    return NEVER
  }
  const codec = CODECS[name]
  if (codec === undefined) {
    problems.push(`compression.codec: this Node.js (${process.version}) has no zstd; take 'brotli', or 22.15 or later`)
    return NEVER
  }
  const [least, most] = codec.levels
  if (!Number.isInteger(level) || level < least || level > most)
    problems.push(`compression.level: ${String(level)} is not a whole number from ${least} to ${most} (${name})`)
  return { pack: (bytes) => (bytes.length < threshold ? { body: bytes, codec: 0 } : compress(codec, level, bytes)) }
}

function compress(codec: Codec, level: number, bytes: Buffer): MaybePromise<Packed> {
  const smaller = (packed: Buffer): Packed =>
    packed.length < bytes.length ? { body: packed, codec: codec.number } : { body: bytes, codec: 0 }
  if (bytes.length > OFF_THREAD_BYTES) return codec.packAway(bytes, level).then(smaller)
  return smaller(codec.pack(bytes, level))
}

/** The bytes as they were; throws where they are damaged, or packed by a codec that this Node.js has not. */
export function unpack({ body, codec: number }: Packed): MaybePromise<Buffer> {
  if (number === 0) return body
  const codec = BY_NUMBER.get(number)
  if (codec === undefined) throw new TypeError(`unknown codec ${number}`)
  return body.length > OFF_THREAD_PACKED_BYTES ? codec.unpackAway(body) : codec.unpack(body)
}
