import { type INestApplication, Module, RequestMethod, VersioningType } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { FastifyAdapter } from '@nestjs/platform-fastify'
import compression from 'compression'
import helmet from 'helmet'
import { RedwellModule, type RedwellModuleOptions } from 'redwell/nestjs'
import { Catalogue } from '../shop/catalogue.js'
import { AccountController, sessions } from './account.js'
import { CartController } from './cart.js'
import { HomeController } from './home.js'
import { ProductsController, ProductsControllerV2 } from './products.js'

export interface AppOptions {
  readonly catalogue: Catalogue
  /** Settings of redwell. Tests use `url: 'memory:'`. */
  readonly redis?: RedwellModuleOptions
  readonly platform?: 'express' | 'fastify'
}

/** The application, not listening yet. */
export async function buildApp({ catalogue, redis = {}, platform = 'express' }: AppOptions): Promise<INestApplication> {
  @Module({
    // With `sessions`, the signed-in user is the principal of the cache.
    imports: [RedwellModule.forRoot({ sessions, ...redis })],
    controllers: [AccountController, CartController, HomeController, ProductsController, ProductsControllerV2],
    providers: [{ provide: Catalogue, useValue: catalogue }],
  })
  class AppModule {}

  const options = { logger: ['warn' as const, 'error' as const], forceCloseConnections: true }
  const app: INestApplication =
    platform === 'fastify'
      ? await NestFactory.create(AppModule, new FastifyAdapter(), options)
      : await NestFactory.create(AppModule, options)
  // Outside of the cache: what is stored is plain, and these fields are set anew for each response.
  app.use(helmet())
  app.use(compression())
  app.enableCors({ origin: 'https://shop.example', credentials: true })
  app.enableVersioning({ type: VersioningType.URI })
  app.setGlobalPrefix('api', { exclude: [{ path: '/', method: RequestMethod.GET }, 'health'] })
  return app
}
