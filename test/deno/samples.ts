/**
 * The code of Deno's manual on queues, all of it and as it is printed in the Turkish edition: what was written for Deno has
 * to run unchanged. Only the indentation, which the edition has lost, is put back.
 */

/** Adds a message. */
export const ENQUEUE = `
// Mesaj nesnenizin şeklini tanımlayın (isteğe bağlı)
interface Notification {
  forUser: string;
  body: string;
}
// Bir KV örneğine başvurun
const kv = await Deno.openKv();
// Bir bildirim nesnesi oluşturun
const message: Notification = {
  forUser: "alovelace",
  body: "Size yeni bir e-posta var!",
};
// Mesajı hemen teslimat için kuyruğa ekleyin
await kv.enqueue(message);
`;

/** Goes on from {@link ENQUEUE}: the message once more, three days later. */
export const ENQUEUE_LATER = `
// Mesajı 3 gün içinde teslim almak üzere kuyruğa ekleyin
const delay = 1000 * 60 * 60 * 24 * 3;
await kv.enqueue(message, { delay });
`;

/** Where {@link ENQUEUE_WITH_BACKUP} leaves something out. */
export const DISASTER = '// ... felaket meydana geldi ...';

/** Goes on from {@link ENQUEUE}: the message once more, kept under a key when it is given up. */
export const ENQUEUE_WITH_BACKUP = `
// Başarısız bir mesajın gönderileceği anahtarı yapılandırın
const backupKey = ["failed_notifications", "alovelace", Date.now()];
await kv.enqueue(message, { keysIfUndelivered: [backupKey] });
${DISASTER}
// Gönderilmeyen mesajı alın
const r = await kv.get<Notification>(backupKey);
// Bu gönderilmeyen mesajdır:
console.log("Gönderilmeyen bildirim bulundu:", r.value?.forUser);
`;

/** Handles messages, and says which ones it does not know. */
export const LISTEN = `
// Kuyrukta beklediğimiz mesajın nesne şeklini tanımlayın
interface Notification {
  forUser: string;
  body: string;
}
// Gelen mesajın türünü kontrol etmek için bir tür koruyucu oluşturun
function isNotification(o: unknown): o is Notification {
  return (
    ((o as Notification)?.forUser !== undefined &&
      typeof (o as Notification).forUser === "string") &&
    ((o as Notification)?.body !== undefined &&
      typeof (o as Notification).body === "string")
  );
}
// Bir KV veritabanına başvurun
const kv = await Deno.openKv();
// Değerleri dinlemek için bir işleyici fonksiyonu kaydedin - bu örnek
// bir bildirimin nasıl gönderileceğini gösterir
kv.listenQueue((msg: unknown) => {
  // Tür koruyucusunu kullanın - böylece TypeScript derleyicisi msg'nin
  // bir Bildirim olduğunu bilir
  if (isNotification(msg)) {
    console.log("Kullanıcıya bildirim gönderiliyor:", msg.forUser);
    // ... bildirimi gerçekten göndermek için bir şey yapın!
  } else {
    // Mesaj bilinen bir tipe ait değilse, bir hata olabilir
    console.error("Bilinmeyen mesaj alındı:", msg);
  }
});
`;

/** Transfers money once for each message, and sends one. What `commit()` gives is not looked at. */
export const TRANSFER = `
const kv = await Deno.openKv();
kv.listenQueue(async (msg: unknown) => {
  const nonce = await kv.get(["nonces", msg.nonce]);
  if (nonce.value === null) {
    // Bu mesaj zaten işlendi
    return;
  }
  const change = msg.change;
  const bob = await kv.get(["balance", "bob"]);
  const liz = await kv.get(["balance", "liz"]);
  const success = await kv.atomic()
    // Bu mesajın henüz işlenmediğinden emin olun
    .check({ key: nonce.key, versionstamp: nonce.versionstamp })
    .delete(nonce.key)
    .sum(["processed_count"], 1n)
    .check(bob, liz) // bakiyeler değişmedi
    .set(["balance", "bob"], bob.value - change)
    .set(["balance", "liz"], liz.value + change)
    .commit();
});
// Anahtarları değiştirin ve aynı KV işleminde mesajları kuyruğa ekleyin!
const nonce = crypto.randomUUID();
await kv
  .atomic()
  .check({ key: ["nonces", nonce], versionstamp: null })
  .enqueue({ nonce: nonce, change: 10 })
  .set(["nonces", nonce], true)
  .sum(["enqueued_count"], 1n)
  .commit();
`;
