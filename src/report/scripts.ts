// Made by scripts/embed-lua.mjs from lua/*.lua; do not edit.
import type { Script } from '../redis/command.js'

export const scripts = {
  history: { name: 'history', keyCount: 1, sha1: 'a6949ea4fb3ca48359b2c8ff35d1be06649bf79a', source: "for index = 2, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[index], ARGV[index + 1]) end\nredis.call('PEXPIRE', KEYS[1], ARGV[1])\nreturn 1\n" },
} as const satisfies Record<string, Script>
