/** Adds each message to a total, which all handlers read and write. */
export default async function count(amount, { tx }) {
  const { value } = await tx.get(['total']);
  tx.set(['total'], (value ?? 0) + amount);
  tx.sum(['jobs'], 1n);
}
