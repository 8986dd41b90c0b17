import { describe, expect, test } from 'vitest'
import { cookieOf, cookiesOnly, mostRecent, selectedFields } from '../../src/http/index.js'
import type { VaryRule } from '../../src/http/vary.js'
import { date, hit, miss, NOW, policyOf, request, response, storable, stored, values } from './support.js'

function selected(fields: Record<string, string>, names: readonly string[], rules: Record<string, VaryRule> = {}) {
  return selectedFields(request(fields), names, policyOf({ vary: rules })).map(([, value]) => value)
}

describe('Vary', () => {
  test('RFC 9111 4.1: names are case-insensitive, lines are joined, the order and repetition do not matter', () => {
    const decision = storable({
      options: { ttl: 60 },
      response: response(['Vary', 'B-Field , ,a-field', 'vary', 'A-FIELD']),
    })
    expect(decision.varyNames).toEqual(['a-field', 'b-field'])
  })

  test("the route's names and the response's are one list", () => {
    const options = { ttl: 60, vary: ['X-Tenant', 'accept'] }
    expect(storable({ options, response: response(['Vary', 'Accept, X-Other']) }).varyNames).toEqual([
      'accept',
      'x-other',
      'x-tenant',
    ])
  })

  test("what the route selects by is told to caches in front, on a miss and on a hit, without repeating the handler's", () => {
    const run = { options: { ttl: 60, vary: ['X-Tenant', 'accept'] }, response: response(['Vary', 'Accept']) }
    expect(values(miss(run), 'vary')).toEqual(['Accept, x-tenant'])
    expect(values(hit(stored(run), run), 'vary')).toEqual(['Accept, x-tenant'])
    expect(values(miss({ ...run, response: response([], 500) }), 'vary')).toEqual(['accept, x-tenant'])
  })

  test('RFC 9111 4.1: an absent field and an empty one differ', () => {
    expect(selected({}, ['x-a'])).toEqual([undefined])
    expect(selected({ 'x-a': '' }, ['x-a'])).toEqual([''])
  })

  test('RFC 9111 4.1: white space round commas does not matter, inside quotes it does', () => {
    expect(selected({ 'x-a': ' a ,\tb,, c ' }, ['x-a'])).toEqual(['a,b,,c'])
    expect(selected({ 'x-a': '"a , b" ,c' }, ['x-a'])).toEqual(['"a , b",c'])
    expect(selected({ 'x-a': 'A' }, ['x-a'])).not.toEqual(selected({ 'x-a': 'a' }, ['x-a']))
  })

  test('RFC 9110 12.5: preferences are case-insensitive and ordered by weight; equal weights keep their order', () => {
    const same = (name: string, one: string, other: string) =>
      expect(selected({ [name]: one }, [name])).toEqual(selected({ [name]: other }, [name]))
    same('accept-encoding', 'gzip;q=0.5, br', 'BR , gzip; q=0.50')
    same('accept-encoding', 'gzip;q=1.0, br', 'gzip, br')
    same('accept-language', 'en;q=0.8, de', 'de,en;q=0.8')
    same('accept', 'text/html;level=1;q=0.7, text/plain', 'text/plain,text/html; level=1; q=0.7')
    expect(selected({ accept: 'a/b, c/d' }, ['accept'])).not.toEqual(selected({ accept: 'c/d, a/b' }, ['accept']))
    expect(selected({ accept: 'a/b;q=0' }, ['accept'])).not.toEqual(selected({ accept: 'a/b' }, ['accept']))
  })

  test('values of media type parameters keep their case: they may select another response', () => {
    const of = (accept: string) => selected({ accept }, ['accept'])[0]
    expect(of('Text/HTML;Profile="https://a.example/A";Q=0.5')).toBe('text/html;profile="https://a.example/A";q=0.5')
    expect(of('application/ld+json;profile="A"')).not.toBe(of('application/ld+json;profile="a"'))
  })

  test('an ill-formed weight is not taken for another', () => {
    const forms = [
      'gzip;q=0x0',
      'gzip;q=0',
      'gzip;q=2',
      'gzip',
      'gzip;q=',
      'gzip;q=1e-1',
      'gzip;q=0.1',
      'gzip;q=0.1;q=0.2',
    ]
    const keys = forms.map((form) => selected({ 'accept-encoding': form }, ['accept-encoding'])[0])
    expect(new Set(keys).size).toBe(forms.length)
  })

  test("'exact' compares as sent; 'language' by the order of preference alone, refusals included", () => {
    const exact = { accept: 'exact' } as const
    expect(selected({ accept: 'a/b , c/d' }, ['accept'], exact)).toEqual(['a/b , c/d'])
    const language = { 'accept-language': 'language' } as const
    const of = (text: string) => selected({ 'accept-language': text }, ['accept-language'], language)[0]
    expect(of('en-GB,en;q=0.9')).toBe('en-gb,en')
    expect(of('en;q=0.5, en-gb;q=0.8')).toBe('en-gb,en')
    expect(of('en, de;q=0')).toBe('en,!de')
  })

  test.each([
    ['lang=de', 'de'],
    ['a=1; lang=de ;b=2', 'de'],
    ['lang=', ''],
    ['lang', undefined],
    ['a=1', undefined],
    ['xlang=de; Lang=de', undefined],
    ['lang="de"', '"de"'],
    ['lang=a=b', 'a=b'],
    // Parsers disagree about which of two counts.
    ['lang=de; lang=fr', 'de;fr'],
    [undefined, undefined],
  ])('one cookie of %s', (field, value) => {
    expect(cookieOf(field, 'lang')).toBe(value)
  })

  test('a Cookie field with only the cookies that are keyed', () => {
    expect(cookiesOnly('a=1; lang=de;  theme = x; lang=fr', ['lang', 'theme'])).toBe('lang=de; theme=x; lang=fr')
    expect(cookiesOnly('a=1', ['lang'])).toBeUndefined()
  })

  test('RFC 9111 4.1: among matching variants the most recent Date wins', () => {
    const made = (at: number) => stored({ response: response(['Cache-Control', 'max-age=600', 'Date', date(at)]) })
    const [older, newer] = [made(-20), made(-10)]
    expect(mostRecent([newer, older], NOW)).toBe(newer)
    expect(mostRecent([older, newer], NOW)).toBe(newer)
    expect(mostRecent([], NOW)).toBeUndefined()
  })
})
