import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { Controller, Get } from '@nestjs/common'
import express from 'express'
import express4 from 'express4'
import Fastify from 'fastify'
import { Hono } from 'hono'
import Koa from 'koa'
import { expect, onTestFinished, test, vi } from 'vitest'
import { OptionsError, RateLimitError, SessionError, StatusError, UnavailableError } from '../src/index.js'
import { start } from './nestjs/app.js'

const SECRET = 'the address of a server'

const ERRORS = {
  409: () => new SessionError('ended'),
  429: () => new RateLimitError({ retryAfter: 2 }, 429, { 'Retry-After': '2' }),
  500: () => new OptionsError('options', [SECRET]),
  503: () => new UnavailableError('deadline', SECRET),
} as const

type Status = keyof typeof ERRORS

interface Answered {
  readonly status: number
  readonly text: string
}

/** An application without any handling of errors. Returns what it answers where a handler throws. */
const HOSTS: Readonly<Record<string, (make: () => Error) => Promise<Answered>>> = {
  async Fastify(make) {
    const app = Fastify()
    app.get('/', async () => Promise.reject(make()))
    const { statusCode, body } = await app.inject('/')
    return { status: statusCode, text: body }
  },
  'Express 5': (make) => ofExpress(express, make),
  'Express 4': (make) => ofExpress(express4, make),
  async Hono(make) {
    const app = new Hono()
    app.get('/', () => {
      throw make()
    })
    const response = await app.request('/')
    return { status: response.status, text: await response.text() }
  },
  async Koa(make) {
    const app = new Koa()
    app.silent = true
    app.use(() => {
      throw make()
    })
    return askAt(app.listen(0, '127.0.0.1'))
  },
  'NestJS on Express': (make) => ofNest('express', make),
  'NestJS on Fastify': (make) => ofNest('fastify', make),
}

async function ofExpress(framework: typeof express, make: () => Error): Promise<Answered> {
  const app = framework()
  // As in production: otherwise the stack is shown.
  app.set('env', 'production')
  app.get('/', (_, __, next) => next(make()))
  return askAt(app.listen(0, '127.0.0.1'))
}

async function ofNest(platform: 'express' | 'fastify', make: () => Error): Promise<Answered> {
  @Controller()
  class Throwing {
    @Get()
    get(): never {
      throw make()
    }
  }
  const { client } = await start(platform, { controllers: [Throwing] })
  return client.get('/')
}

async function askAt(server: ReturnType<Koa['listen']>): Promise<Answered> {
  onTestFinished(() => void server.close())
  await once(server, 'listening')
  const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, {
    headers: { connection: 'close' },
  })
  return { status: response.status, text: await response.text() }
}

const cells = Object.keys(HOSTS).flatMap((host) =>
  Object.keys(ERRORS).map((status): [string, Status] => [host, Number(status) as Status]),
)

test.each(cells)('%s answers an error that nobody handles with its status, %i', async (host, status) => {
  const log = vi.spyOn(console, 'error').mockImplementation(() => {})
  onTestFinished(() => log.mockRestore())
  const answered = await HOSTS[host]!(ERRORS[status])
  // Fastify shows the message of every error.
  expect([answered.status, host !== 'Fastify' && answered.text.includes(SECRET)]).toEqual([status, false])
})

test('errors with a status have one class', () => {
  for (const [status, make] of Object.entries(ERRORS)) expect(make() instanceof StatusError).toBe(status !== '500')
})
