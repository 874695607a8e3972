import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.HashMap;
import java.util.Map;
import java.util.regex.Pattern;

/** A server of the standard library, and a table. */
public class Small {
  static final Map<String, Integer> table = new HashMap<>();

  static void answer(HttpExchange exchange) throws IOException {
    long sum = 0;
    for (int i = 0; i < 2000; i++)
      sum += table.get("k" + i * 7);
    byte[] bytes = ("hello " + Pattern.compile("[0-9]+").matcher("" + sum).matches()).getBytes();
    exchange.sendResponseHeaders(200, bytes.length);
    exchange.getResponseBody().write(bytes);
    exchange.close();
  }

  public static void main(String[] arguments) throws IOException {
    for (int i = 0; i < 200000; i++)
      table.put("k" + i, i);
    HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 80), 0);
    server.createContext("/", Small::answer);
    server.start();
  }
}
