import type { INestApplication, ModuleMetadata, Type } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { FastifyAdapter } from '@nestjs/platform-fastify'
import { afterEach } from 'vitest'
import { RedwellModule, type RedwellModuleOptions } from '../../src/adapters/nestjs/index.js'
import { Client } from '../adapters/client.js'
import { silentLogger } from '../support/logger.js'

export type Platform = 'express' | 'fastify'

export interface Started {
  readonly app: INestApplication
  readonly client: Client
}

const cleanups: (() => Promise<unknown>)[] = []

afterEach(async () => {
  await Promise.all(cleanups.splice(0).map((cleanup) => cleanup()))
})

/** A module of these parts, with redwell on the embedded store. */
export function moduleOf(metadata: ModuleMetadata, options: RedwellModuleOptions = {}): ModuleMetadata {
  const redwell = RedwellModule.forRoot({ url: 'memory:', logger: silentLogger, ...options })
  return { ...metadata, imports: [redwell, ...(metadata.imports ?? [])] }
}

/** A class, or what stands in its decorator. */
type RootModule = Type | ModuleMetadata

async function create(platform: Platform, module: RootModule): Promise<INestApplication> {
  const settings = { logger: false, abortOnError: false, forceCloseConnections: true } as const
  const app =
    platform === 'express'
      ? await NestFactory.create(module, settings)
      : await NestFactory.create(module, new FastifyAdapter({ forceCloseConnections: true }), settings)
  cleanups.push(() => app.close())
  return app
}

/** An application that is stopped when the test ends. */
export async function start(
  platform: Platform,
  module: RootModule,
  configure: (app: INestApplication) => void = () => {},
): Promise<Started> {
  const app = await create(platform, module)
  configure(app)
  await app.listen(0, '127.0.0.1')
  return { app, client: new Client(Number(new URL(await app.getUrl()).port)) }
}
