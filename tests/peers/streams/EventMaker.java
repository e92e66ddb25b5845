package peers;

import java.nio.charset.StandardCharsets;

/** Deterministic events of the seed-1 shape, about 350 bytes of JSON each. */
final class EventMaker {
    static final String[] TYPES = {"page_view", "click", "search", "purchase", "login", "logout"};
    private static final int[] CUMULATIVE = {40, 70, 85, 92, 96, 100};
    private static final String[] AGENTS = {
        "Mozilla/5.0 (X11; Linux) Chrome/126", "Mozilla/5.0 (Mac) Safari/17.4",
        "Mozilla/5.0 (Windows) Firefox/127", "Mozilla/5.0 (iPhone) Mobile/15E148"};
    private static final String[] PAGES = {"/home", "/products", "/products/42", "/cart", "/checkout", "/account", "/help", "/search"};
    private static final char[] HEX = "0123456789abcdef".toCharArray();

    private long state;
    private final int users;
    private final StringBuilder b = new StringBuilder(512);
    // Fields of the last event made.
    int type;
    int user;
    long cents;
    boolean high;              // a purchase of more than 100
    int idAt, idLength;        // where its id stands in the bytes; 0 long where it has none
    boolean compact;

    EventMaker(long seed, int users) { this.state = seed; this.users = users; }

    long next() { // SplitMix64
        long z = state += 0x9E3779B97F4A7C15L;
        z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
        z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
        return z ^ (z >>> 31);
    }

    int below(int n) { return (int) Math.multiplyHigh(next() >>> 1, (long) n << 1); }

    static String userKey(int user) { return pad("user_", user, 6); }

    private static String pad(String p, int n, int w) {
        String s = Integer.toString(n);
        return p + "0".repeat(Math.max(0, w - s.length())) + s;
    }

    private void hex(long v, int digits) { for (int i = digits - 1; i >= 0; i--) b.append(HEX[(int) (v >>> (4 * i)) & 15]); }

    private void two(int n, int w) { String s = Integer.toString(n); for (int i = s.length(); i < w; i++) b.append('0'); b.append(s); }

    private void iso(long ms) {
        long days = Math.floorDiv(ms, 86_400_000L);
        var d = java.time.LocalDate.ofEpochDay(days);
        int r = (int) (ms - days * 86_400_000L);
        two(d.getYear(), 4); b.append('-'); two(d.getMonthValue(), 2); b.append('-'); two(d.getDayOfMonth(), 2); b.append('T');
        two(r / 3_600_000, 2); b.append(':'); two(r / 60_000 % 60, 2); b.append(':'); two(r / 1000 % 60, 2); b.append('.'); two(r % 1000, 3); b.append('Z');
    }

    /** A valid event at the given event time. */
    byte[] make(long ms) { return make(ms, -1); }

    /** The same of that user; below 0: of any. */
    byte[] make(long ms, int whose) {
        int w = below(100);
        int t = 0;
        while (w >= CUMULATIVE[t]) t++;
        type = t;
        user = whose < 0 ? below(users) : whose;
        cents = 10 + below(30_000);
        long a = next(), c = next(), x = next();
        high = t == 3 && ((x >>> 44) & 511) >= 100;
        b.setLength(0);
        if (compact) {
            idLength = 0;
            return number("{\"duration_seconds\":");
        }
        b.append("{\"event_id\":\"");
        idAt = b.length();
        idLength = 36;
        hex(a >>> 32, 8); b.append('-'); hex(a >>> 16, 4); b.append("-4"); hex(a, 3); b.append('-');
        b.append(HEX[8 | (int) (c >>> 62)]); hex(c >>> 48, 3); b.append('-'); hex(c, 12);
        b.append("\",\"user_id\":\"").append(userKey(user)).append("\",\"event_type\":\"").append(TYPES[t]);
        b.append("\",\"timestamp\":\""); iso(ms);
        b.append("\",\"event_data\":{\"session_id\":\"sess_"); hex(x, 8);
        b.append("\",\"ip_address\":\"10.").append((x >>> 8) & 255).append('.').append((x >>> 16) & 255).append('.').append((x >>> 24) & 255);
        b.append("\",\"user_agent\":\"").append(AGENTS[(int) (x >>> 62)]).append("\",\"page_url\":\"https://shop.test").append(PAGES[(int) (x >>> 40) & 7]);
        b.append("\",\"referrer\":\"https://ref.test\"");
        switch (t) {
            case 2 -> b.append(",\"query\":\"item ").append((x >>> 44) & 1023).append('"');
            case 3 -> { b.append(",\"order_id\":\"ord_"); hex(x >>> 20, 8); b.append("\",\"amount\":").append((x >>> 44) & 511).append(".5,\"currency\":\"EUR\",\"item_count\":").append(1 + ((x >>> 56) & 3)); }
            case 4, 5 -> b.append(",\"auth_method\":\"password\"");
            default -> { }
        }
        return number("},\"duration_seconds\":");
    }

    private byte[] number(String before) {
        b.append(before).append(cents / 100).append('.');
        two((int) (cents % 100), 2);
        b.append('}');
        return b.toString().getBytes(StandardCharsets.ISO_8859_1);
    }

    /** One of five kinds of event which every peer has to reject. */
    byte[] spoil(byte[] good, int kind) {
        String s = new String(good, StandardCharsets.ISO_8859_1);
        s = switch (kind) {
            case 0 -> s.substring(0, s.length() - 9);                                  // truncated JSON
            case 1 -> s.replaceFirst("\"event_id\":\"[^\"]*\",", "");                   // no id
            case 2 -> s.replaceFirst("\"event_type\":\"[^\"]*\"", "\"event_type\":\"teleport\"");
            case 3 -> s.replaceFirst("\"timestamp\":\"[^\"]*\"", "\"timestamp\":\"yesterday\"");
            default -> s.replaceFirst("\"duration_seconds\":", "\"duration_seconds\":-");
        };
        return s.getBytes(StandardCharsets.ISO_8859_1);
    }
}
