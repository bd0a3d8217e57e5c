// Says what becomes of objects of the platform in KV, on whatever this runs on.
import { openKv } from '../../../dist/doors/deno/index.js';

const { subtle } = crypto;
const kv = await openKv(':memory:');

async function again(value) {
  await kv.set(['a'], value);
  const { value: got } = await kv.get(['a']);
  const { value: listed } = await kv.list({ prefix: [] }).next();
  const [many] = await kv.getMany([['a']]);
  const reader = kv.watch([['a']]).getReader();
  const [watched] = (await reader.read()).value;
  await reader.cancel();
  const all = [listed.value, many.value, watched.value, got];
  for (const each of all)
    if (each.constructor !== value.constructor || each === value) throw new Error('It is another');
  return got;
}

async function keyAgain(key) {
  const { type, extractable, usages, algorithm } = await again(key);
  const { name, length, namedCurve, modulusLength, hash } = algorithm;
  return { type, extractable, usages, algorithm: { name, length, namedCurve, modulusLength, hash } };
}

async function refusal(use) {
  try {
    return await use();
  } catch (error) {
    return `${error.constructor.name}: ${error.message}`;
  }
}

const blob = await again(new Blob(['h\u{e9}'], { type: 'text/x' }));
const file = await again(new File(['x'], 'x.txt', { type: 'text/x', lastModified: 12_345 }));
const exception = new DOMException('oops', 'DataCloneError');
const gotException = await again(exception);
const secret = await subtle.generateKey({ name: 'AES-GCM', length: 256 }, true, ['encrypt', 'decrypt']);
const hidden = await subtle.generateKey({ name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt']);
const curve = await subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify']);
const rsa = await subtle.generateKey(
  { name: 'RSA-OAEP', hash: 'SHA-256', modulusLength: 2048, publicExponent: Uint8Array.of(1, 0, 1) },
  true,
  ['encrypt', 'decrypt'],
);
const text = new TextEncoder().encode('signed');
const sign = { name: 'ECDSA', hash: 'SHA-256' };
const signature = await subtle.sign(sign, await again(curve.privateKey), text);

const twice = kv
  .atomic()
  .set(['b'], new Blob(['b']))
  .set(['c'], 1);
await twice.commit();
const { ok } = await twice.commit();

const report = {
  blob: [blob.type, await blob.text()],
  file: [file.name, file.type, file.lastModified, await file.text()],
  exception: [gotException.name, gotException.message, gotException.code, gotException.stack === exception.stack],
  secret: await keyAgain(secret),
  rsa: [await keyAgain(rsa.publicKey), await keyAgain(rsa.privateKey)],
  isSigned: await subtle.verify(sign, await again(curve.publicKey), signature, text),
  twice: [ok, await (await kv.get(['b'])).value.text()],
  refused: {
    hidden: await refusal(() => kv.set(['a'], hidden)),
    blobWithin: await refusal(() => kv.set(['a'], { a: [new Blob(['x'])] })),
    keyWithin: await refusal(() => kv.set(['a'], new Map([[1, secret]]))),
    fileWithin: await refusal(() => kv.set(['a'], new Error('x', { cause: new File([], 'x') }))),
    blobOfQueue: await refusal(() => kv.enqueue(new Blob(['x']))),
    keyOfQueue: await refusal(() => kv.enqueue(secret)),
    large: await refusal(() => kv.set(['a'], new Blob([new Uint8Array(65_537)]))),
  },
};
kv.close();
console.log(JSON.stringify(report));
