/** `deno run platform-objects-on-deno.mjs URL`: says which errors and keys it reads, and writes some of its own. */
const kv = await Deno.openKv(Deno.args[0]);
const { value: error } = await kv.get(['values', 'error']);
const { value: key } = await kv.get(['values', 'key']);
const raw = [...new Uint8Array(await crypto.subtle.exportKey('raw', key))];
await kv.set(['from', 'error'], new DOMException('of Deno', 'AbortError'));
// One that it has read itself Deno writes as an empty object.
const own = await crypto.subtle.importKey('raw', new Uint8Array(raw), 'AES-GCM', true, ['encrypt']);
await kv.set(['from', 'key'], own);
await kv.set(['from', 'within'], { errors: [new DOMException('within', 'AbortError')] });
await kv.set(['from', 'keys'], [own]);
await kv.set(['from', 'blob'], new Blob(['x']));
kv.close();
const report = { error: [error instanceof DOMException, error.name, error.message], key: [key.algorithm, raw] };
console.log(JSON.stringify({ report }));
