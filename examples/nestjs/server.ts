// A shop on NestJS: `npx tsx examples/nestjs/server.ts`. HOST, PORT, REDIS_URL (default: the embedded store), and
// PLATFORM, `express` or `fastify`.
import type { INestApplication } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { FastifyAdapter } from '@nestjs/platform-fastify'
import { AppModule } from './app.js'

const { HOST = '127.0.0.1', PORT = '3000', PLATFORM = 'express' } = process.env

const logger = ['warn', 'error'] as const
const app: INestApplication =
  PLATFORM === 'fastify'
    ? await NestFactory.create(AppModule, new FastifyAdapter(), { logger: [...logger] })
    : await NestFactory.create(AppModule, { logger: [...logger] })

// On SIGTERM the server is closed, and then the connection.
app.enableShutdownHooks()
await app.listen(Number(PORT), HOST)
const url = await app.getUrl()
console.log(`listening on ${url}; try curl -i ${url}/products/1 twice`)
