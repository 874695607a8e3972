interface Entry { readonly index: number; readonly text: string }

const table = new Map<string, Entry>();
for (let index = 0; index < 200000; index++)
  table.set('k' + index, { index, text: 'x' + index });

export function answer(path: string): string {
  const entry = table.get('k' + path.length * 1000);
  return `${table.size} ${entry ? entry.text : 'nothing'}`;
}
