package parlor.jolie;

import java.io.IOException;
import java.net.ProtocolFamily;
import java.nio.channels.DatagramChannel;
import java.nio.channels.Pipe;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.channels.spi.AbstractSelectableChannel;
import java.nio.channels.spi.AbstractSelector;
import java.nio.channels.spi.SelectorProvider;
import java.util.Set;

/**
 * Selectors without anything to select. The interpreter opens some for every run and never closes them, which would cost
 * two descriptors each; and here there is no network for which they could be of use.
 */
public final class NoSelectors extends SelectorProvider {
  @Override
  public AbstractSelector openSelector() {
    return new Nothing(this);
  }

  @Override
  public SocketChannel openSocketChannel() throws IOException {
    throw none();
  }

  @Override
  public ServerSocketChannel openServerSocketChannel() throws IOException {
    throw none();
  }

  @Override
  public DatagramChannel openDatagramChannel() throws IOException {
    throw none();
  }

  @Override
  public DatagramChannel openDatagramChannel(ProtocolFamily family) throws IOException {
    throw none();
  }

  @Override
  public Pipe openPipe() throws IOException {
    throw none();
  }

  private static IOException none() {
    return new IOException("there is no network here");
  }

  private static final class Nothing extends AbstractSelector {
    private boolean woken;

    Nothing(SelectorProvider provider) {
      super(provider);
    }

    @Override
    public Set<SelectionKey> keys() {
      return Set.of();
    }

    @Override
    public Set<SelectionKey> selectedKeys() {
      return Set.of();
    }

    @Override
    public int selectNow() {
      return 0;
    }

    @Override
    public int select() {
      return select(0);
    }

    @Override
    public synchronized int select(long timeout) {
      try {
        if (!woken && isOpen()) {
          wait(timeout);
        }
      } catch (InterruptedException interrupted) {
        Thread.currentThread().interrupt();
      }
      woken = false;
      return 0;
    }

    @Override
    public synchronized Selector wakeup() {
      woken = true;
      notifyAll();
      return this;
    }

    @Override
    protected void implCloseSelector() {
      wakeup();
    }

    @Override
    protected SelectionKey register(AbstractSelectableChannel channel, int operations, Object attachment) {
      throw new UnsupportedOperationException("there is no network here");
    }
  }
}
