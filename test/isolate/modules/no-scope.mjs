export const scope = 5;
export default function handle() {}
