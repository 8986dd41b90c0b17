import { createClient, type RedisClientOptions, RESP_TYPES } from '@redis/client'

// The driver's types leave `undefined` out, which is how its time-out is switched off.
const noTimeout = { timeout: undefined } as unknown as NonNullable<RedisClientOptions['commandOptions']>

/** node-redis as an expert would set it for a cache: what hand-written code is compared with. */
export async function tunedClient(url: string) {
  const client = createClient({
    url,
    disableOfflineQueue: true,
    commandsQueueMaxLength: 10_000,
    // Its default of 5 s makes an AbortSignal for every command.
    commandOptions: { ...noTimeout, typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } },
    pingInterval: 1000,
    maintNotifications: 'disabled',
    // A server that goes away is the end of a measurement.
    socket: { connectTimeout: 1000, socketTimeout: 3000, reconnectStrategy: false },
  })
  client.on('error', (error) => console.error(error))
  await client.connect()
  return client
}

export type TunedClient = Awaited<ReturnType<typeof tunedClient>>
