//! Starting a sign-in, or joining the one that is under way.

use tokio::time::Instant;

use super::{DeviceError, DeviceFlow, DeviceSignIn, Inner, StartedDevice};
use crate::{
    connection::{AuthType, PATIENCE},
    pending::Life,
};

impl Inner {
    pub(super) async fn start(
        &self,
        sign_in: DeviceSignIn<'_>,
    ) -> Result<StartedDevice, DeviceError> {
        let DeviceSignIn { namespace, owner, connector, reauthorises, .. } = sign_in;
        let asked_of = self.connections.connector(connector)?;
        if asked_of.auth != AuthType::OAuth2 || asked_of.device_authorization_url.is_none() {
            return Err(DeviceError::NoDeviceFlow { connector: asked_of.slug.clone() });
        }
        let place = self.connections.place(owner, connector, reauthorises).await?;
        if let Some(found) = self.pendings.find(namespace, &sign_in.spec(())).await? {
            return Ok(StartedDevice::of(found, true));
        }

        let asked = Instant::now();
        let call = self.endpoint.authorize(asked_of);
        let given = self.connections.ask(asked_of, PATIENCE, call, |_| None).await??;
        let left = given.expires_in.saturating_sub(asked.elapsed());
        let mut spec = sign_in.spec(DeviceFlow::new(&sign_in, &place, given));
        spec.life = Life::For(left.min(self.config.longest));
        loop {
            let created = self.pendings.create(namespace, &spec).await?;
            if !created.joined {
                let (id, prompt) = (created.id, spec.data.prompt);
                let expires_in = created.expires_in;
                self.connections.tell_started(id, owner, connector, reauthorises).await?;
                return Ok(StartedDevice { id, joined: false, prompt, expires_in });
            }
            if let Some(found) = self.pendings.get(created.id).await? {
                return Ok(StartedDevice::of(found, true));
            }
            // The one that was joined has ended since: the next try creates one, or joins another.
        }
    }
}
