import { Module } from '@nestjs/common'
import { RedwellModule } from 'redwell/nestjs'
import { HealthModule } from './health.js'
import { ProductsModule } from './products.js'

@Module({
  imports: [
    // A factory, so that the variables are read when the application starts.
    RedwellModule.forRootAsync({ useFactory: () => ({ url: process.env['REDIS_URL'] ?? 'memory:' }) }),
    ProductsModule,
    HealthModule,
  ],
})
export class AppModule {}
