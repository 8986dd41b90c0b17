import { Controller, Get, Inject, Module } from '@nestjs/common'
import { HealthCheck, HealthCheckService, TerminusModule } from '@nestjs/terminus'
import { RedwellHealthIndicator } from 'redwell/nestjs'

@Controller('health')
class HealthController {
  readonly #health: HealthCheckService
  readonly #redis: RedwellHealthIndicator

  constructor(
    @Inject(HealthCheckService) health: HealthCheckService,
    @Inject(RedwellHealthIndicator) redis: RedwellHealthIndicator,
  ) {
    this.#health = health
    this.#redis = redis
  }

  @Get()
  @HealthCheck()
  check() {
    return this.#health.check([() => this.#redis.check()])
  }
}

@Module({ imports: [TerminusModule.forRoot({ logger: false })], controllers: [HealthController] })
export class HealthModule {}
