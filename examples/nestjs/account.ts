import {
  Body,
  type CanActivate,
  Controller,
  type ExecutionContext,
  ForbiddenException,
  HttpCode,
  Post,
  Session as NestSession,
  UnauthorizedException,
} from '@nestjs/common'
import { IsString, MaxLength } from 'class-validator'
import type { Session } from 'redwell'
import { type NestSessionOptions, RateLimit } from 'redwell/nestjs'
import { isStaff, verify } from '../shop/users.js'
import { valid } from './validation.js'

declare module 'redwell' {
  interface SessionData {
    /** The signed-in user. */
    userId?: string | undefined
  }
}

export const sessions: NestSessionOptions = { idleTtl: '30m', absoluteTtl: '8h', principal: (data) => data.userId }

/** A request of either platform: the module gives each a session. */
export interface WithSession {
  readonly session: Session
}

class SignIn {
  @IsString()
  @MaxLength(64)
  readonly name!: string

  @IsString()
  @MaxLength(64)
  readonly password!: string
}

@Controller()
export class AccountController {
  @Post('sign-in')
  @HttpCode(204)
  @RateLimit({ rate: '10/minute' })
  signIn(@Body(valid(SignIn)) { name, password }: SignIn, @NestSession() session: Session): void {
    const user = verify(name, password)
    if (user === undefined) throw new UnauthorizedException('wrong name or password')
    session.data.userId = user.name // signs in
    session.rotate() // under a new id, also if the same user was signed in
  }

  @Post('sign-out')
  @HttpCode(204)
  async signOut(@NestSession() session: Session): Promise<void> {
    await session.end()
  }
}

/** After `@RequireSession()`, which refuses whoever is not signed in. */
export class StaffGuard implements CanActivate {
  canActivate(context: ExecutionContext): true {
    const { session } = context.switchToHttp().getRequest<WithSession>()
    if (!isStaff(session.subject)) throw new ForbiddenException('only staff may change products')
    return true
  }
}
