import { request } from 'node:http'

export interface Answer {
  readonly status: number
  readonly cache: string | undefined
  readonly body: string
}

/** One request over a real socket. */
export function ask(port: number, method: string, path: string, headers: Record<string, string> = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asking = request({ host: '127.0.0.1', port, method, path, headers, agent: false }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          cache: response.headers['x-redis-cache'] as string | undefined,
          body: Buffer.concat(chunks).toString(),
        }),
      )
    })
    asking.on('error', reject)
    asking.end()
  })
}
