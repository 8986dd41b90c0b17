export function storeOrders(_name: string, _lines: () => unknown): void {}
