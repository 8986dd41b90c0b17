import type { Type } from '@nestjs/common'

/** The context of Express says what the authentication of the reader's application sets. */
export type { Request } from 'express'

export declare const AppModule: Type
export declare function search(): Promise<unknown>
